// By keyboard alone, on a phone, in light and dark: what is on the page can be reached, read and named.
import assert from 'node:assert/strict';
import {join} from 'node:path';
import {after, before, test} from 'node:test';
import {findFaults} from './faults.mjs';
import {key, World} from './world.mjs';

const shots = process.env.STEPLOG_BROWSER_SHOTS;
let world, stuck, sleeping, done;
before(async () => {
  world = await World.create();
  for (let n = 0; n < 12; ++n) done = await world.purchase({email: `customer${n}@example.com`});
  await world.becomes(done, 'completed');
  stuck = await world.purchase({email: null});
  await world.tell('faults', {kind: 'status', status: 503, provider: 'clerk', times: 1});
  sleeping = await world.purchase({email: 'sleeper@example.com'});
  await world.becomes(sleeping, 'sleeping');
  await world.becomes(stuck, 'stuck');
});
after(() => world.end());

const focused = (page) => page.evaluate(() => (document.activeElement === document.body ? ''
  : document.activeElement.innerText || document.activeElement.id));

async function tabTo(page, name) {
  for (let n = 0; n < 60; ++n) {
    await page.keyboard.press('Tab');
    if ((await focused(page)).includes(name)) {
      const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
      assert.notEqual(ring, 'none', `nothing shows that ${name} has the focus`);
      return;
    }
  }
  assert.fail(`Tab does not reach ${name}`);
}

test('everything is done by keyboard alone', async () => {
  const page = await world.tab({signedIn: false});
  await page.keyboard.type(key);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', {name: 'Overview'}).waitFor();
  await page.keyboard.press('/');
  await page.waitForFunction(() => document.activeElement.id === 'find');
  await page.keyboard.type(stuck.split('/')[1]);
  await page.waitForFunction(() => document.querySelectorAll('.list tbody tr').length === 1);
  await tabTo(page, stuck.split('/')[1]);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', {name: 'Waits for a person'}).waitFor();
  await tabTo(page, 'Cancel instance');
  await page.waitForTimeout(2500);  // a poll later the focus is where it was
  assert.equal(await focused(page), 'Cancel instance');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await tabTo(page, 'Cancel it');
  await tabTo(page, 'Go back');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor({state: 'hidden'});
  assert.equal(await focused(page), 'Cancel instance');
  await tabTo(page, 'Skip to the content');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  await world.close(page);
});

const looks = [];
for (const colorScheme of ['light', 'dark'])
  for (const [size, viewport] of Object.entries({wide: {width: 1280, height: 850}, phone: {width: 360, height: 740}}))
    looks.push({colorScheme, size, viewport});

for (const {colorScheme, size, viewport} of looks)
  test(`every view is whole, legible and named: ${size}, ${colorScheme}`, async () => {
    const phone = size === 'phone';
    const page = await world.tab({signedIn: false, colorScheme, viewport, hasTouch: phone, isMobile: phone, reducedMotion: 'reduce'});
    const look = async (name) => {
      await page.screenshot({path: join(shots, `${name}-${size}-${colorScheme}.png`), fullPage: name !== 'confirm', caret: 'initial'});
      assert.deepEqual(await page.evaluate(findFaults), [], name);
    };
    await look('sign-in');
    await page.getByLabel('Admin key').fill(key);
    await page.getByRole('button', {name: 'Sign in'}).click();
    await page.getByRole('link', {name: 'no_email'}).waitFor();
    await page.getByText('As a table').click();
    await look('overview');
    await world.open(page, '#/instances');
    await page.locator('.list tbody tr').nth(10).waitFor();
    await look('instances');
    for (const [name, id] of Object.entries({stuck, sleeping, completed: done})) {
      await world.openInstance(page, id);
      await page.locator('.timeline li').first().waitFor();
      await page.getByText('Input', {exact: true}).click();
      await look(name);
    }
    await world.openInstance(page, stuck);
    await page.getByRole('button', {name: 'Cancel instance'}).click();
    await look('confirm');
    await world.close(page);
  });
