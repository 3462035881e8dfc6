// Numbers, times and states as people read them.
import {el} from './dom.js';

export const states = ['stuck', 'running', 'pending', 'sleeping', 'waiting', 'queued', 'completed',
  'failed', 'cancelled'];
export const isFinished = (state) => ['completed', 'failed', 'cancelled'].includes(state);

// This machine's clock may differ from the server's, by which all times are.
let aheadMs = 0;
export const setServerTime = (at) => { aheadMs = Date.now() - Date.parse(at); };
export const now = () => Date.now() - aheadMs;

export const count = (number) => number.toLocaleString('en');

export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? '' : 's'}`;
}

// 340 ms, 1.2 s, 2 min 5 s, 3 h 10 min, 4 d 2 h
export function span(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  const two = (large, largeUnit, small, smallUnit) =>
    `${large} ${largeUnit}${small ? ` ${small} ${smallUnit}` : ''}`;
  const min = Math.floor(s / 60);
  if (min < 60) return two(min, 'min', min < 10 ? Math.floor(s % 60) : 0, 's');
  const h = Math.floor(min / 60);
  if (h < 48) return two(h, 'h', h < 10 ? min % 60 : 0, 'min');
  const d = Math.floor(h / 24);
  return two(d, 'd', d < 10 ? h % 24 : 0, 'h');
}

// In one unit, as it is said: 12 s, 3 min, 5 h, 2 d
export function rough(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 90) return `${s} s`;
  if (s < 90 * 60) return `${Math.round(s / 60)} min`;
  if (s < 36 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

export function relative(at) {
  const ms = now() - Date.parse(at);
  if (Math.abs(ms) < 2000) return 'now';
  return ms > 0 ? `${rough(ms)} ago` : `in ${rough(-ms)}`;
}

// "3 min ago", kept up to date; the exact time when pointed at, and for whoever reads by machine.
export function ago(at) {
  if (!at) return '–';
  return el('time', {datetime: at, title: exact(at), 'data-relative': true}, relative(at));
}

export function exact(at) {
  return new Date(at).toLocaleString('en-GB', {dateStyle: 'medium', timeStyle: 'long'});
}

// 09:41:07.120, with the day where it is not today.
export function clockTime(at) {
  const date = new Date(at), pad = (n, digits = 2) => String(n).padStart(digits, '0');
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${
    pad(date.getMilliseconds(), 3)}`;
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.toLocaleDateString('en-GB', {day: 'numeric', month: 'short'})} ${time}`;
}

// The server's sentences hold times of UTC: here they are those of whoever reads.
export function withTimes(text) {
  return text.split(/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)/).map((part, at) => (at % 2
    ? el('time', {datetime: part, title: exact(part)}, clockTime(part).slice(0, -4)) : part));
}

export function updateTimes() {
  for (const time of document.querySelectorAll('time[data-relative]')) {
    const text = relative(time.dateTime);
    if (time.textContent !== text) time.textContent = text;
  }
}

export function badge(state) {
  return el('span', {class: `badge ${state}`}, state);
}

export const instanceLink = (id) => `#/instance/${encodeURIComponent(id)}`;

// "#/instances?state=stuck&workflow=…"
export function listLink(filter) {
  const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value));
  return `#/instances${query.size ? `?${query}` : ''}`;
}
