// What keeps somebody from using a page, as far as it can be measured: runs within the page, and knows
// nothing from outside. Returns sentences.
export function findFaults() {
  const faults = [];
  const seen = (node) => {
    const box = node.getBoundingClientRect(), style = getComputedStyle(node);
    return box.width > 1 && box.height > 1 && style.visibility === 'visible' && !node.closest('[hidden]');
  };
  const called = (node) => `<${node.tagName.toLowerCase()} ${node.id || node.className}> ${(node.textContent || '').trim().slice(0, 40)}`;

  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) faults.push(`the page is ${wide} pixels too wide`);
  if (!document.documentElement.lang) faults.push('the page has no language');
  if (!document.title) faults.push('the page has no title');
  const dialog = document.querySelector('dialog[open]');
  if (document.querySelectorAll('h1').length !== 1) faults.push('there is not one h1');
  if (document.querySelectorAll('main').length !== 1) faults.push('there is not one main');
  const ids = [...document.querySelectorAll('[id]')].map((node) => node.id);
  for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) faults.push(`the id ${id} is there twice`);

  const labelled = (node) => (node.getAttribute('aria-labelledby') ?? '').split(' ').map((id) => document.getElementById(id)?.textContent ?? '').join(' ');
  for (const node of document.querySelectorAll('a, button, input, select, textarea, summary, [tabindex], [role=img], dialog, section, nav, form[role]')) {
    if (!seen(node) || node.id === 'main') continue;
    const name = node.getAttribute('aria-label') || labelled(node) || (node.labels?.length ? node.labels[0].textContent : '') ||
      (node.matches('a, button, summary') ? node.textContent : '');
    if (!name.trim()) faults.push(`${called(node)} has no name`);
  }
  for (const node of document.querySelectorAll('th')) if (!node.scope) faults.push(`${called(node)} has no scope`);
  for (const node of document.querySelectorAll('[tabindex]')) if (Number(node.getAttribute('tabindex')) > 0) faults.push(`${called(node)} is out of order`);
  for (const node of document.querySelectorAll('[style]')) faults.push(`${called(node)} has a style of its own`);
  for (const node of document.querySelectorAll('button, input:not([type=hidden]), select'))
    if (seen(node) && node.getBoundingClientRect().height < 24) faults.push(`${called(node)} is too small to be touched`);

  // Contrast, as WCAG 2 has it: 4.5, for large text 3.
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const parts = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((at) => top[at] * top[3] + below[at] * (1 - top[3])).concat(1);
  const ground = (node) => {
    if (!node) return [255, 255, 255, 1];
    const own = parts(getComputedStyle(node).backgroundColor);
    return own[3] === 1 ? own : over(own, ground(node.parentElement));
  };
  const light = (color) => {
    const [r, g, b] = color.slice(0, 3).map((one) => (one / 255 <= 0.03928 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  for (const node of (dialog ?? document.body).querySelectorAll('*')) {
    const text = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!text || !seen(node) || node.closest('svg, .unseen, .skip, noscript, option, datalist')) continue;
    const style = getComputedStyle(node), below = ground(node);
    if (parseFloat(style.fontSize) === 0) continue;
    const [one, other] = [light(over(parts(style.color), below)), light(below)].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05), size = parseFloat(style.fontSize);
    const large = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700;
    if (ratio < (large ? 3 : 4.5)) faults.push(`${called(node)} has a contrast of ${ratio.toFixed(2)}`);
  }
  return faults;
}
