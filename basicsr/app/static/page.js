/* What gradio has no part for: files that are dropped or pasted anywhere, the divider and the strength of a result,
   scrolling to it, and links that download at once. Buttons of our HTML call the page by askPage and askForFile. */
(() => {
  'use strict';
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);
  const isVideo = (file) => file.type.startsWith('video/') || /\.(mp4|mov|avi|mkv|webm|m4v|mpe?g|wmv)$/i.test(file.name);
  let strength = 1, videos = [];
  const behavior = matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth';

  // Gradio loads the page again when its connection was lost; the visit goes on under the name that the tab keeps.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const visit = sessionStorage.visit ??= [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  const send = window.fetch;
  window.fetch = (address, how) => {
    if (!String(address?.url ?? address).includes('/queue/join')) return send(address, how);
    const headers = new Headers(how?.headers);
    headers.set('x-visit', visit);
    return send(address, { ...how, headers });
  };

  function add(list) {
    const files = [...list];
    videos = files.filter(isVideo).map((file) => file.name); // not uploaded: they are large
    const rest = files.filter((file) => !isVideo(file));
    const input = one('input[type=file][multiple]');
    if (!rest.length && videos.length) window.askPage({ what: 'video', id: window.takeVideos().join('\n') });
    if (!rest.length || !input) return;
    const data = new DataTransfer();
    for (const file of rest) data.items.add(file);
    input.files = data.files;
    input.dispatchEvent(new Event('change', { bubbles: true }));
  }

  window.takeVideos = () => videos.splice(0);
  window.uploaded = () => { delete document.body.dataset.uploading; };

  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
  addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.add('dropping');
  }, true);
  addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) document.body.classList.remove('dropping');
  }, true);
  addEventListener('drop', (event) => {
    document.body.classList.remove('dropping');
    if (!hasFiles(event)) return;
    event.preventDefault(); // the browser would open the file in place of the page
    event.stopPropagation();
    add(event.dataTransfer.files);
  }, true);
  addEventListener('paste', (event) => {
    if (event.clipboardData?.files.length) {
      event.preventDefault();
      add(event.clipboardData.files);
    }
  });

  addEventListener('click', (event) => {
    const button = event.target.closest?.('[data-do]');
    if (!button) return;
    const { do: what, id } = button.dataset;
    if (what === 'zip' || what === 'save') {
      if (what === 'save' && strength === 1) return; // a link to the file itself
      event.preventDefault();
      document.body.toggleAttribute('data-preparing', true);
      window.askForFile({ id, strength });
    } else {
      window.askPage({ what, id });
      if (what === 'show' && innerWidth < 700) one('#right')?.scrollIntoView({ behavior });
    }
  });

  addEventListener('input', (event) => {
    const figure = event.target.closest?.('.compare');
    if (figure) figure.style.setProperty('--place', `${event.target.value}%`);
    if (event.target.closest?.('.strength')) {
      strength = event.target.value / 100;
      showStrength();
    }
  });

  const toasts = () => all('.toast-body').length;
  addEventListener('change', (event) => { // gradio's button says nothing while it sends files
    if (event.target.matches?.('input[type=file][multiple]')) document.body.dataset.uploading = toasts();
  }, true);

  function showStrength() {
    for (const figure of all('.compare')) figure.style.setProperty('--strength', strength);
    for (const input of all('.strength input')) input.value = strength * 100;
    const words = `${Math.round(strength * 100)}%`;
    for (const output of all('.strength output')) {
      if (output.textContent !== words) output.textContent = words; // each change makes the observer look again
    }
  }

  window.deblurring = () => { // the progress is below the controls on a phone
    if (innerWidth < 700) one('#right')?.scrollIntoView({ behavior });
  };

  let told = '';
  function showAlert() { // a refusal may be out of sight, above all on a phone
    const alert = one('#said [role=alert]') ?? one('#result [role=alert]');
    const words = alert?.innerText ?? '';
    if (words === told) return;
    told = words;
    if (alert) document.body.toggleAttribute('data-preparing', false);
    if (!alert) return;
    const { top, bottom } = alert.getBoundingClientRect();
    if (top < 0 || bottom > innerHeight) alert.scrollIntoView({ behavior, block: 'center' });
  }

  let scrolledTo = '';
  function look() {
    const { uploading } = document.body.dataset; // gradio refuses files that are too large by itself
    if (uploading !== undefined && toasts() > uploading) window.uploaded();
    for (const figure of all('.compare')) { // gradio's updates take the place of the line away
      const divider = figure.querySelector('.divider');
      if (divider) figure.style.setProperty('--place', `${divider.value}%`);
    }
    showAlert();
    const fresh = one('#result [data-fresh]:not([data-fresh=""])');
    if (strength !== 1 && one('#result .after')) showStrength();
    if (fresh && fresh.dataset.fresh !== scrolledTo) {
      scrolledTo = fresh.dataset.fresh;
      const images = all('.compare img', fresh);
      Promise.allSettled(images.map((image) => image.decode())).then(() => {
        const { top } = fresh.getBoundingClientRect();
        const { bottom } = fresh.querySelector('.tools').getBoundingClientRect();
        if (top < 0 || bottom > innerHeight) one('#result').scrollIntoView({ behavior });
      });
    }
    for (const link of all('#ready a[data-now]')) {
      link.removeAttribute('data-now');
      document.body.toggleAttribute('data-preparing', false);
      link.click();
    }
  }
  new MutationObserver(look).observe(document, {
    childList: true, subtree: true, attributes: true, attributeFilter: ['data-fresh', 'src', 'href', 'data-now'],
  });
  // Gradio's own message about a lost connection goes away, and leaves the page as if the work went on.
  let server, lost = '';
  async function ask() {
    if (document.visibilityState === 'hidden') return;
    let said;
    try {
      const answer = await fetch('/gradio_api/app_id', { cache: 'no-store', signal: AbortSignal.timeout(8000) });
      said = answer.ok ? await answer.text() : undefined;
    } catch { said = undefined; }
    server ??= said;
    const words = said === undefined ? 'The server is not responding. The page tries again every few seconds.'
      : said !== server ? 'The server was restarted and no longer has your photos. Reload the page.' : '';
    if (words === lost) return;
    if (!words) window.watchPage?.({}); // the connection is there again
    lost = words;
    document.body.toggleAttribute('data-lost', words !== '');
    let note = one('#lost');
    if (!note) {
      note = document.createElement('p');
      note.id = 'lost';
      note.setAttribute('role', 'alert');
      document.body.prepend(note);
    }
    note.textContent = words;
  }
  setInterval(ask, 4000);
  let hidden = 0;
  document.addEventListener('visibilitychange', () => { // a phone that slept has lost its connection
    if (document.visibilityState === 'hidden') hidden = Date.now();
    else if (Date.now() - hidden > 5000) window.watchPage?.({});
  });
})();
