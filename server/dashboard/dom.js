// Building the page. Text that comes from the server only ever becomes text nodes and attributes of
// elements that are made here, never markup.

const svgTags = new Set(['svg', 'g', 'rect', 'path', 'line', 'text', 'title']);

// el('p', {class: 'muted'}, 'text', node, [more], null)
export function el(tag, attributes = {}, ...children) {
  const inSvg = svgTags.has(tag) && tag !== 'title' || attributes.svg;
  const node = inSvg ? document.createElementNS('http://www.w3.org/2000/svg', tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false || name === 'svg') continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

// Runs `change` on what is below `node`, and puts the focus and what was open back where they were.
function keepingPlace(node, change) {
  const focused = node.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const open = [...node.querySelectorAll('details[open]')].map((one) => one.dataset.key);
  change();
  for (const details of node.querySelectorAll('details'))
    if (open.includes(details.dataset.key)) details.open = true;
  if (focused)
    [...node.querySelectorAll('[data-key]')].find((one) => one.dataset.key === focused)?.focus();
}

// A place of the page that is built anew only when what it shows has changed, and not while a
// person marks text in it.
export function slot(name, build) {
  const node = el('div', {class: name});
  let shown = null;
  return {
    node,
    show(data) {
      const text = JSON.stringify(data);
      if (text === shown) return;
      const selection = document.getSelection();
      if (selection && !selection.isCollapsed && node.contains(selection.anchorNode)) return;
      shown = text;
      keepingPlace(node, () => {
        node.replaceChildren(...[build(data)].flat(Infinity).filter((child) => child !== null));
      });
    },
  };
}

// A screen reader reads it aloud; it goes away by itself, an error stays longer.
let saying = 0;
export function say(text, isError = false) {
  const status = document.getElementById('status');
  status.replaceChildren(el('p', {class: isError ? 'bad' : 'good'}, text));
  clearTimeout(saying);
  saying = setTimeout(() => status.replaceChildren(), isError ? 12000 : 6000);
}

// Text with `code` in backticks.
export function prose(text) {
  return text.split('`').map((part, at) => (at % 2 ? el('code', {}, part) : part));
}
