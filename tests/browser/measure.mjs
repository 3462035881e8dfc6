// How long each view takes in Chromium on a large database: from the click to the figures on the page.
// Prints a line a view; exits 1 where one takes longer than a second.
import {World} from './world.mjs';

const rounds = 7, limitMs = 1000;
const world = await World.create({database: process.env.STEPLOG_BROWSER_DATABASE, environment: {STEPLOG_RETENTION: '3650d'}});
let slow = false;
try {
  const page = await world.tab();
  const past = 'bench/past/00500000';
  const views = {
    'overview': ['#/', '.tile .value'],
    'instances': ['#/instances', '.list tbody tr:nth-child(50)'],
    'instances, completed': ['#/instances?state=completed', '.list tbody tr:nth-child(50)'],
    'instances, stuck': ['#/instances?state=stuck', '.list tbody tr:nth-child(50)'],
    'instances, unfinished': ['#/instances?state=unfinished', '.list tbody tr:nth-child(50)'],
    'instances, by id': [`#/instances?text=${past}`, '.list tbody tr'],
    'instances, by customer': ['#/instances?text=cus_00200000', '.list tbody tr'],
    'an instance': [`#/instance/${encodeURIComponent(past)}`, '.timeline li'],
    'instances, failed (none)': ['#/instances?state=failed', '.calm'],
  };
  for (const [name, [hash, wanted]] of Object.entries(views)) {
    const took = [];
    for (let round = 0; round < rounds; ++round) {
      await world.open(page, '#/instances?text=nothing-is-called-so');
      await page.getByText('No instance matches.').waitFor();
      took.push(await page.evaluate(async ([to, selector]) => {
        const main = document.querySelector('main'), before = main.firstElementChild, began = performance.now();
        location.hash = to;
        const there = () => main.firstElementChild !== before && !main.hasAttribute('aria-busy') && main.querySelector(selector) &&
          !main.textContent.includes('Looking further back');
        while (!there()) await new Promise((resolve) => { requestAnimationFrame(resolve); });
        return performance.now() - began;
      }, [hash, wanted]));
    }
    took.sort((a, b) => a - b);
    const median = took[Math.floor(rounds / 2)], most = took.at(-1);
    console.log(`${name.padEnd(46)} ${median.toFixed(0).padStart(5)} ms   at most ${most.toFixed(0)} ms`);
    slow ||= most > limitMs;
  }
} finally {
  await world.end();
}
if (slow) {
  console.error(`a view took longer than ${limitMs} ms`);
  process.exit(1);
}
