/* The page: data, table, cards, theme. Text from the data becomes text nodes and attributes only, never markup. */

const DATA = JSON.parse(byId('data').textContent);
const SPECIAL = { inf: Infinity, '-inf': -Infinity, nan: NaN };
const page = { set: DATA.sets[0], sort: null, shown: [] };

function numberOf(value) {
  if (value === undefined || value === null) return null;
  const number = typeof value === 'string' ? SPECIAL[value] : value;
  return Number.isNaN(number) ? null : number;
}

function textOf(number, decimals, sign = false) {
  if (number === null) return '–';
  const text = Number.isFinite(number) ? Math.abs(number).toFixed(decimals) : '∞';
  return (number < 0 ? '−' : sign && number > 0 ? '+' : '') + text;
}

function minus(a, b) {
  return a === null || b === null || Number.isNaN(a - b) ? null : a - b;
}

const scoreOf = (row, label, run = 0) => numberOf(row.runs[run].scores[label]);
const inputOf = (row, label) => numberOf(row.input[label]);
const mainOf = (set) => set.labels.find(({ label }) => label === set.main) ?? set.labels[0];
const isCollapsed = (row) => row.runs.some((run) => run.collapsed);
const isFull = (row) => row.runs.some((run) => run.images.output);

/* What images are ranked by: the second run's gain over the first, or the gain over the input, or the score. */
function merit(set, row) {
  const main = mainOf(set);
  if (!main) return null;
  const last = scoreOf(row, main.label, row.runs.length - 1);
  const before = row.runs.length > 1 ? scoreOf(row, main.label) : inputOf(row, main.label);
  const value = before === null ? last : minus(last, before);
  return value === null || main.higher ? value : -value;
}

/* One entry a column: its title, the value it is sorted by, what it shows, and a class for the cell. */
function columnsOf(set) {
  const several = set.runs.length > 1;
  const of = (run) => (several ? ` of ${run}` : '');
  const columns = [{ title: 'image', value: (row) => row.name, text: (row) => row.name }];
  const change = (title, value, { decimals, higher }) => columns.push({
    title, value,
    text: (row) => textOf(value(row), decimals, true),
    kind: (row) => ({ 1: higher ? 'gain' : 'loss', '-1': higher ? 'loss' : 'gain' })[Math.sign(value(row) ?? 0)] ?? '',
  });
  for (const label of set.labels) {
    set.runs.forEach((run, i) => columns.push({
      title: `${label.title}${of(run)}`,
      value: (row) => scoreOf(row, label.label, i),
      text: (row) => textOf(scoreOf(row, label.label, i), label.decimals),
    }));
    if (several) {
      change(`${label.title} difference`, (row) => minus(scoreOf(row, label.label, 1), scoreOf(row, label.label, 0)), label);
    } else if (set.rows.some((row) => inputOf(row, label.label) !== null)) {
      change(`${label.title} gain`, (row) => minus(scoreOf(row, label.label), inputOf(row, label.label)), label);
    }
  }
  set.runs.forEach((run, i) => {
    if (set.rows.some((row) => row.runs[i].collapsed !== null)) {
      columns.push({
        title: several ? `collapsed in ${run}` : 'collapsed',
        value: (row) => Number(row.runs[i].collapsed ?? 0),
        text: (row) => (row.runs[i].collapsed ? 'collapsed' : ''),
        kind: () => 'flag',
      });
    }
  });
  set.runs.forEach((run, i) => {
    if (set.rows.some((row) => row.runs[i].seconds !== null)) {
      columns.push({ title: `seconds${of(run)}`, value: (row) => row.runs[i].seconds, text: (row) => textOf(row.runs[i].seconds, 2) });
    }
  });
  columns.push({
    title: 'size',
    value: (row) => row.width * row.height,
    text: (row) => `${row.width} × ${row.height}${row.runs.some((run) => run.tiled) ? ', tiled' : ''}`,
  });
  return columns;
}

function compareValues(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === 'string' ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
}

/* Rows in the order of a column; what is missing stays at the end either way. Without a column: collapsed first. */
function sorted(set, sort) {
  const rows = [...set.rows];
  if (!sort) {
    return rows.sort((a, b) => isCollapsed(b) - isCollapsed(a) || compareValues(merit(set, a), merit(set, b)) || a.index - b.index);
  }
  const { value } = set.columns[sort.column];
  return rows.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    const order = compareValues(x, y);
    return (x === null || y === null ? order : order * sort.direction) || a.index - b.index;
  });
}

function thumbOf(row) {
  const images = row.runs.at(-1).images;
  return images.output_thumb ?? images.output ?? null;
}

function rowElement(set, row) {
  const open = () => openViewer(set, row, page.shown);
  const url = thumbOf(row);
  const image = url ? element('img', { className: 'thumb', loading: 'lazy', decoding: 'async', width: 96, height: 60, alt: '', src: url }) : '';
  const name = element('button', { type: 'button', className: 'name', textContent: row.name });
  name.addEventListener('click', open);
  if (url) image.addEventListener('click', open);
  const marks = row.runs.flatMap((run) => run.marks);
  const cells = set.columns.slice(1).map(({ text, kind }) => element('td', { textContent: text(row), className: kind ? kind(row) : '' }));
  const named = element('td', {}, marks.length ? [name, element('div', { className: 'note', textContent: marks.join('; ') })] : [name]);
  return element('tr', { className: isCollapsed(row) ? 'collapsed' : '' }, [element('td', {}, [image]), named, ...cells]);
}

function showHead() {
  const { set, sort } = page;
  const heads = set.columns.map(({ title }, column) => {
    const button = element('button', { type: 'button', textContent: title });
    const head = element('th', { scope: 'col' }, [button]);
    if (sort?.column === column) head.setAttribute('aria-sort', sort.direction > 0 ? 'ascending' : 'descending');
    button.addEventListener('click', () => sortBy(column));
    return head;
  });
  const image = element('th', { scope: 'col', textContent: 'output' });
  byId('table').tHead.replaceChildren(element('tr', {}, [image, ...heads]));
}

function sortBy(column) {
  const again = page.sort?.column === column;
  page.sort = { column, direction: again ? -page.sort.direction : 1 };
  showHead();
  showRows();
  byId('table').tHead.querySelectorAll('button')[column].focus();
}

function showRows() {
  const { set } = page;
  const wanted = byId('filter').value.toLowerCase();
  page.shown = sorted(set, page.sort).filter((row) => row.name.toLowerCase().includes(wanted)
    && (!byId('only-collapsed').checked || isCollapsed(row)) && (!byId('only-full').checked || isFull(row)));
  set.elements ??= new Map();
  const rows = page.shown.map((row) => {
    if (!set.elements.has(row)) set.elements.set(row, rowElement(set, row));
    return set.elements.get(row);
  });
  byId('table').tBodies[0].replaceChildren(...rows);
  byId('shown').textContent = `${rows.length} of ${set.rows.length} images`;
}

function cardOf(set, row) {
  const main = mainOf(set);
  const url = thumbOf(row);
  const image = url ? element('img', { loading: 'lazy', decoding: 'async', alt: '', src: url }) : element('span', { className: 'none' });
  const several = row.runs.length > 1;
  let text = '';
  if (main) {
    const before = several ? scoreOf(row, main.label) : inputOf(row, main.label);
    const after = scoreOf(row, main.label, row.runs.length - 1);
    const change = minus(after, before);
    const arrow = before === null ? '' : `${textOf(before, main.decimals)} → `;
    text = `${arrow}${textOf(after, main.decimals)} ${main.unit}${change === null ? '' : ` (${textOf(change, main.decimals, true)})`}`;
  }
  const card = element('button', { type: 'button', className: isCollapsed(row) ? 'card collapsed' : 'card', title: row.name }, [
    image,
    element('span', { className: 'card-name', textContent: row.name }),
    element('span', { className: 'card-score', textContent: text }),
  ]);
  card.addEventListener('click', () => openViewer(set, row, page.shown.includes(row) ? page.shown : set.rows));
  return card;
}

function showCards() {
  const { set } = page;
  const ranked = set.rows.filter((row) => merit(set, row) !== null).sort((a, b) => merit(set, a) - merit(set, b) || a.index - b.index);
  const collapsed = sorted(set, null).filter(isCollapsed);
  const several = set.runs.length > 1;
  const what = several ? `${set.runs.at(-1)} against ${set.runs[0]}` : 'gain over the input';
  let [worst, best] = [ranked.filter((row) => merit(set, row) < 0), ranked.filter((row) => merit(set, row) > 0)];
  if (!several) { // a ranking; the collapsed images stand above already
    const others = ranked.filter((row) => !isCollapsed(row));
    [worst, best] = [others.slice(0, Math.ceil(others.length / 2)), others.slice(Math.ceil(others.length / 2))];
  }
  const groups = [
    [`Collapsed: ${collapsed.length}`, collapsed.slice(0, 24), collapsed.length > 24],
    [several ? `Largest losses, ${what}` : `Worst${collapsed.length ? ' of the others' : ''}, by ${what}`, worst.slice(0, set.ends)],
    [several ? `Largest gains, ${what}` : `Best, by ${what}`, best.slice(-set.ends).reverse()],
  ];
  byId('notable').replaceChildren(...groups.filter(([, rows]) => rows.length).map(([title, rows, more]) => {
    const parts = [element('h2', { textContent: title }), element('div', { className: 'cards' }, rows.map((row) => cardOf(set, row)))];
    if (more) {
      const button = element('button', { type: 'button', textContent: 'Show all in the table' });
      button.addEventListener('click', () => { byId('only-collapsed').checked = true; showRows(); byId('images').scrollIntoView(); });
      parts.push(element('p', {}, [button]));
    }
    return element('div', {}, parts);
  }));
}

/* The scores of one image, in the viewer. */
function showScores(set, row) {
  const heads = ['', ...set.labels.map(({ title, unit }) => (unit ? `${title}, ${unit}` : title)), 'collapsed', 'seconds'];
  const line = (name, value, collapsed, seconds) => element('tr', {}, [
    element('th', { scope: 'row', textContent: name }),
    ...set.labels.map((label) => element('td', { textContent: textOf(value(label), label.decimals) })),
    element('td', { textContent: collapsed, className: 'flag' }),
    element('td', { textContent: seconds }),
  ]);
  const lines = [line('blurred input', ({ label }) => inputOf(row, label), '', '')];
  row.runs.forEach((run, i) => lines.push(line(
    set.runs[i], ({ label }) => scoreOf(row, label, i), run.collapsed ? 'collapsed' : '', run.seconds === null ? '' : textOf(run.seconds, 2))));
  const head = element('tr', {}, heads.map((text) => element('th', { scope: 'col', textContent: text })));
  byId('scores').replaceChildren(element('thead', {}, [head]), element('tbody', {}, lines));
}

function showSet(set) {
  set.columns ??= columnsOf(set);
  Object.assign(page, { set, sort: null });
  byId('set').value = DATA.sets.indexOf(set);
  showHead();
  showRows();
  showCards();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId('theme').textContent = theme === 'dark' ? 'Light theme' : 'Dark theme';
}

const dark = matchMedia('(prefers-color-scheme: dark)');
setTheme(dark.matches ? 'dark' : 'light');
dark.addEventListener('change', () => setTheme(dark.matches ? 'dark' : 'light'));
byId('theme').addEventListener('click', () => setTheme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'));

byId('set').replaceChildren(...DATA.sets.map(({ name }, i) => element('option', { value: i, textContent: name })));
byId('set-choice').hidden = DATA.sets.length < 2;
byId('set').addEventListener('change', (event) => showSet(DATA.sets[event.target.value]));
for (const id of ['filter', 'only-collapsed', 'only-full']) byId(id).addEventListener('input', showRows);
showSet(page.set);

/* An address that ends in #d=0&i=12 opens that image. */
const asked = new URLSearchParams(location.hash.slice(1));
const askedSet = DATA.sets[asked.get('d')];
const askedRow = askedSet?.rows.find((row) => String(row.index) === asked.get('i'));
if (askedRow) {
  showSet(askedSet);
  openViewer(askedSet, askedRow, page.shown);
}
