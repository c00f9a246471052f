'use strict';
/* The viewer compares two images: with a divider or side by side, with the same pan and zoom. */

const byId = (id) => document.getElementById(id);

function element(tag, properties = {}, children = []) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const viewer = {
  dialog: byId('viewer'),
  stage: byId('stage'),
  set: null,
  row: null,
  order: [],           // rows that "next" and "previous" go through
  sources: [],         // what can be shown: {id, title, url, small}
  scale: 1, x: 0, y: 0, fitted: true, // pixel p of an image is at (x, y) + p * scale, in CSS pixels of its pane
  divider: 0.5,
  beside: false,
  pointers: new Map(), // of those that are down, the last place
  dragging: null,      // 'divider' or 'image'
};

function sourcesOf(set, row) {
  const several = row.runs.length > 1;
  const sources = [];
  const add = (id, title, images, kind) => {
    const url = images[kind] ?? images[`${kind}_thumb`];
    if (url) sources.push({ id, title, url, small: !images[kind] });
  };
  const shared = (kind) => (row.runs.find((run) => run.images[kind]) ?? row.runs[0]).images;
  add('input', 'input', shared('input'), 'input');
  row.runs.forEach((run, i) => add(`output${i}`, several ? `output of ${set.runs[i]}` : 'output', run.images, 'output'));
  add('target', 'target', shared('target'), 'target');
  row.runs.forEach((run, i) => add(`error${i}`, several ? `error of ${set.runs[i]}` : 'error', run.images, 'error'));
  return sources;
}

const sourceOf = (id) => viewer.sources.find((source) => source.id === id);

function presetsOf(row) {
  const wanted = row.runs.length > 1
    ? [['output0', 'output1', 'first output | second output'], ['input', 'output1', 'input | second output'], ['output1', 'target', 'second output | target'], ['error0', 'error1', 'errors']]
    : [['input', 'output0', 'input | output'], ['output0', 'target', 'output | target'], ['error0', 'output0', 'error | output']];
  return wanted.filter(([left, right]) => sourceOf(left) && sourceOf(right));
}

function openViewer(set, row, order) {
  const first = !viewer.dialog.open;
  Object.assign(viewer, { set, row, order, sources: sourcesOf(set, row) });
  const kept = [byId('left').value, byId('right').value];
  for (const side of ['left', 'right']) {
    byId(side).replaceChildren(...viewer.sources.map(({ id, title }) => element('option', { value: id, textContent: title })));
  }
  const presets = presetsOf(row);
  byId('presets').replaceChildren(...presets.map(([left, right, title]) => {
    const button = element('button', { type: 'button', textContent: title });
    button.dataset.pair = `${left} ${right}`;
    button.addEventListener('click', () => showPair(left, right));
    return button;
  }));
  const fallback = presets[0] ?? [viewer.sources[0]?.id, viewer.sources.at(-1)?.id];
  const pair = !first && kept.every(sourceOf) ? kept : fallback;
  const tints = row.runs.map((run) => run.images.masks).find(Boolean);
  byId('masks-choice').hidden = !tints;
  for (const image of viewer.stage.querySelectorAll('.tints')) image.src = tints ?? '';
  const kernel = row.runs.map((run) => run.images.kernel).find(Boolean);
  byId('kernel').hidden = !kernel;
  byId('kernel').firstElementChild.src = kernel ?? '';
  byId('viewer-name').textContent = row.name;
  byId('viewer-place').textContent = `${order.indexOf(row) + 1} of ${order.length}, ${row.width} × ${row.height} pixels`;
  showScores(set, row);
  if (first) {
    viewer.dialog.showModal();
    viewer.stage.focus(); // where the keys work
  }
  showPair(...pair);
  if (first || viewer.fitted) fit();
  else draw();
  remember(set, row);
}

function remember(set, row) {
  const place = row ? `#d=${DATA.sets.indexOf(set)}&i=${row.index}` : location.pathname + location.search;
  try { history.replaceState(null, '', place); } catch { /* a browser that forbids it for files */ }
}

function showPair(left, right) {
  byId('left').value = left;
  byId('right').value = right;
  showImages();
}

function showImages() {
  const chosen = ['left', 'right'].map((side) => [side, sourceOf(byId(side).value)]);
  for (const [side, source] of chosen) {
    const image = byId(`pane-${side}`).querySelector('.picture');
    image.hidden = !source;
    byId(`tag-${side}`).hidden = !source;
    if (!source) continue;
    if (image.getAttribute('src') !== source.url) image.src = source.url;
    image.alt = `${source.title} of ${viewer.row.name}`;
    byId(`tag-${side}`).textContent = source.title;
  }
  const pair = chosen.map(([, source]) => source?.id).join(' ');
  for (const button of byId('presets').children) button.setAttribute('aria-pressed', button.dataset.pair === pair);
  byId('legend').hidden = !chosen.some(([, source]) => source?.id.startsWith('error'));
  byId('legend-end').textContent = `|output − target| ≥ ${viewer.set.errorScale} of 255, largest of the channels`;
  byId('small').hidden = !chosen.some(([, source]) => source?.small);
  draw();
}

function paneWidth() { return viewer.stage.clientWidth / (viewer.beside ? 2 : 1); }

function fitScale() {
  return Math.min(paneWidth() / viewer.row.width, viewer.stage.clientHeight / viewer.row.height);
}

function fit() {
  viewer.scale = fitScale();
  viewer.x = (paneWidth() - viewer.row.width * viewer.scale) / 2;
  viewer.y = (viewer.stage.clientHeight - viewer.row.height * viewer.scale) / 2;
  viewer.fitted = true;
  draw();
}

/* Zoom so that the pixel under (x, y) of a pane stays there. */
function zoomTo(scale, x = paneWidth() / 2, y = viewer.stage.clientHeight / 2) {
  const next = Math.min(Math.max(scale, Math.min(fitScale() / 2, pixelScale())), 32);
  viewer.x = x - (x - viewer.x) * next / viewer.scale;
  viewer.y = y - (y - viewer.y) * next / viewer.scale;
  viewer.scale = next;
  viewer.fitted = false;
  draw();
}

function pan(dx, dy) {
  viewer.x += dx;
  viewer.y += dy;
  viewer.fitted = false;
  draw();
}

/* Keep part of the image visible. */
function hold(place, length, room) {
  const margin = Math.min(80, length, room);
  return Math.min(Math.max(place, margin - length), room - margin);
}

function draw() {
  if (!viewer.row) return;
  const { row, stage } = viewer;
  const width = paneWidth();
  viewer.x = hold(viewer.x, row.width * viewer.scale, width);
  viewer.y = hold(viewer.y, row.height * viewer.scale, stage.clientHeight);
  const device = window.devicePixelRatio || 1;
  const snap = (value) => Math.round(value * device) / device;
  for (const image of stage.querySelectorAll('img')) {
    image.style.width = `${row.width}px`;
    image.style.height = `${row.height}px`;
    image.style.transform = `translate(${snap(viewer.x)}px, ${snap(viewer.y)}px) scale(${viewer.scale})`;
    image.classList.toggle('sharp', viewer.scale * device >= 1.99);
  }
  for (const side of ['left', 'right']) { // colours of an error map mean something: no tints over them
    const wanted = byId('masks').checked && !byId('masks-choice').hidden && !byId(side).value.startsWith('error');
    byId(`pane-${side}`).querySelector('.tints').hidden = !wanted;
  }
  stage.classList.toggle('beside', viewer.beside);
  const cut = viewer.divider * width;
  byId('pane-left').style.clipPath = viewer.beside ? '' : `inset(0 ${width - cut}px 0 0)`;
  byId('pane-right').style.clipPath = viewer.beside ? '' : `inset(0 0 0 ${cut}px)`;
  byId('divider').style.left = `${cut}px`;
  byId('divider').hidden = byId('slide').hidden = viewer.beside;
  byId('slide').value = 100 * viewer.divider;
  byId('zoom').textContent = `${Math.round(100 * viewer.scale * device)} %`;
}

function setLayout(layout) {
  viewer.beside = layout === 'beside';
  byId('layout').value = layout;
  if (viewer.fitted) fit();
  else draw();
}

function step(by) {
  const place = viewer.order.indexOf(viewer.row) + by;
  if (place >= 0 && place < viewer.order.length) openViewer(viewer.set, viewer.order[place], viewer.order);
}

/* Where a pointer is, in its pane. */
function placeOf(event) {
  const box = viewer.stage.getBoundingClientRect();
  return { x: (event.clientX - box.left) % paneWidth(), y: event.clientY - box.top, whole: event.clientX - box.left };
}

const distance = ([a, b]) => Math.hypot(a.x - b.x, a.y - b.y);

viewer.stage.addEventListener('pointerdown', (event) => {
  const place = placeOf(event);
  viewer.stage.setPointerCapture(event.pointerId);
  viewer.pointers.set(event.pointerId, place);
  const near = Math.abs(place.whole - viewer.divider * paneWidth()) < 22;
  if (!viewer.beside && (near || viewer.fitted)) {
    viewer.dragging = 'divider';
    if (!near) moveDivider(place.whole);
  } else {
    viewer.dragging = 'image';
  }
});

viewer.stage.addEventListener('pointermove', (event) => {
  const before = viewer.pointers.get(event.pointerId);
  if (!before) return;
  const place = placeOf(event);
  const apart = viewer.pointers.size === 2 ? distance([...viewer.pointers.values()]) : 0;
  viewer.pointers.set(event.pointerId, place);
  if (viewer.pointers.size === 2) {
    const [a, b] = [...viewer.pointers.values()];
    zoomTo(viewer.scale * distance([a, b]) / Math.max(apart, 1), (a.x + b.x) / 2, (a.y + b.y) / 2);
  } else if (viewer.dragging === 'divider') {
    moveDivider(place.whole);
  } else {
    pan(place.whole - before.whole, place.y - before.y);
  }
});

for (const end of ['pointerup', 'pointercancel']) {
  viewer.stage.addEventListener(end, (event) => viewer.pointers.delete(event.pointerId));
}

function moveDivider(x) {
  viewer.divider = Math.min(Math.max(x / paneWidth(), 0), 1);
  draw();
}

viewer.stage.addEventListener('wheel', (event) => {
  event.preventDefault();
  const { x, y } = placeOf(event);
  zoomTo(viewer.scale * Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), x, y);
}, { passive: false });

const pixelScale = () => 1 / (window.devicePixelRatio || 1);

viewer.stage.addEventListener('dblclick', (event) => {
  const { x, y } = placeOf(event);
  if (viewer.fitted) zoomTo(pixelScale(), x, y);
  else fit();
});

function toggleError() {
  const error = sourceOf('error0');
  if (!error) return;
  if (byId('left').value === error.id) showPair(...presetsOf(viewer.row)[0]);
  else showPair(error.id, byId('right').value);
}

const KEYS = {
  n: () => step(1),
  p: () => step(-1),
  '+': () => zoomTo(viewer.scale * 1.5),
  '=': () => zoomTo(viewer.scale * 1.5),
  '-': () => zoomTo(viewer.scale / 1.5),
  0: fit,
  1: () => zoomTo(pixelScale()),
  m: () => { byId('masks').checked = !byId('masks').checked; draw(); },
  e: toggleError,
  s: () => setLayout(viewer.beside ? 'slider' : 'beside'),
};
const MOVES = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

viewer.dialog.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === 'SELECT') return;
  if (KEYS[event.key]) KEYS[event.key]();
  else if (MOVES[event.key] && event.target === viewer.stage) pan(...MOVES[event.key]);
  else return;
  event.preventDefault();
});

byId('slide').addEventListener('input', (event) => { viewer.divider = event.target.value / 100; draw(); });
byId('left').addEventListener('change', showImages);
byId('right').addEventListener('change', showImages);
byId('masks').addEventListener('change', draw);
byId('layout').addEventListener('change', (event) => setLayout(event.target.value));
byId('zoom-in').addEventListener('click', KEYS['+']);
byId('zoom-out').addEventListener('click', KEYS['-']);
byId('zoom-fit').addEventListener('click', fit);
byId('zoom-one').addEventListener('click', KEYS[1]);
byId('next').addEventListener('click', () => step(1));
byId('previous').addEventListener('click', () => step(-1));
byId('close').addEventListener('click', () => viewer.dialog.close());
viewer.dialog.addEventListener('close', () => remember(viewer.set, null));
new ResizeObserver(() => { if (viewer.row && viewer.fitted) fit(); else draw(); }).observe(viewer.stage);
