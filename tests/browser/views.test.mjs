// The three views, and what a person does to an instance in them.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {World} from './world.mjs';

const evil = '<img src=x onerror="globalThis.pwned=1">';

let world;
before(async () => { world = await World.create(); });
after(() => world.end());

async function tile(page, name) {
  return page.locator('.tile', {hasText: name}).locator('.value').innerText();
}

test('the overview shows figures and follows without reloading', async () => {
  const page = await world.tab();
  await page.getByText('Nothing needs you.').waitFor();
  await page.evaluate(() => { globalThis.notReloaded = true; });
  await world.becomes(await world.purchase({email: 'ada@example.com'}), 'completed');
  await page.locator('.tile', {hasText: 'Success rate'}).getByText('1 completed, 0 failed').waitFor();
  assert.equal(await tile(page, 'Success rate'), '100.0 %');
  assert.match(await tile(page, 'Processing time'), /^[\d.]+ m?s$/);
  assert.equal(await tile(page, 'Failed account creations'), '0');
  await world.becomes(await world.purchase({email: null}), 'stuck');
  await page.getByRole('link', {name: '1 instance'}).waitFor();
  await page.locator('.tile', {hasText: 'Failed account creations'}).getByText('1 stuck now').waitFor();
  assert.equal(await page.evaluate(() => globalThis.notReloaded), true);
  await page.getByRole('link', {name: 'no_email'}).click();
  await page.getByRole('heading', {name: 'Instances'}).waitFor();
  await page.getByRole('button', {name: /Any error code/}).waitFor();
  assert.equal(await page.locator('.list tbody tr').count(), 1);
  await world.close(page);
});

test('the list is filtered, found in, kept in the address, and live', async () => {
  const page = await world.tab();
  await world.open(page, '#/instances');
  await page.locator('.list tbody tr').nth(1).waitFor();
  await page.getByLabel('State').selectOption('stuck');
  await page.waitForFunction(() => document.querySelectorAll('.list tbody tr').length === 1);
  assert.match(page.url(), /state=stuck/);
  await page.reload();
  await page.locator('.list .badge.stuck').waitFor();
  assert.equal(await page.getByLabel('State').inputValue(), 'stuck');
  await world.becomes(await world.purchase({email: null}), 'stuck');
  await page.locator('.list tbody tr').nth(1).waitFor();
  const id = await world.purchase({email: 'grace@example.com'});
  await world.becomes(id, 'completed');
  await page.getByLabel('State').selectOption('');
  await page.getByLabel('Find').fill(id.split('/')[1]);
  await page.waitForFunction(() => document.querySelectorAll('.list tbody tr').length === 1);
  await page.getByRole('link', {name: id}).click();
  await page.getByRole('heading', {name: id}).waitFor();
  await page.goBack();
  await page.getByRole('link', {name: id}).waitFor();
  await page.getByLabel('Find').fill('nothing-is-called-so');
  await page.getByText('No instance matches.').waitFor();
  await world.close(page);
});

test('a stuck instance tells why, and is resumed when a person has said yes', async () => {
  const made = await world.tell('purchase', {deliver: false, email: null});
  const {body} = made.events.find((one) => one.type === 'checkout.session.completed');
  await world.deliver(body);
  const event = JSON.parse(body), id = `provision_customer/${event.id}`;
  await world.becomes(id, 'stuck');
  const page = await world.tab();
  await world.openInstance(page, id);
  await page.getByRole('heading', {name: 'Waits for a person'}).waitFor();
  await page.getByText('has no e-mail address in Stripe').first().waitFor();
  await page.locator('.timeline li.bad', {hasText: 'fetch_purchase'}).first().waitFor();
  await page.getByText('it goes on at fetch_purchase when it is resumed').waitFor();
  assert.equal(await page.getByRole('button', {name: 'Retry now'}).count(), 0);

  const answer = await fetch(`${world.provider}/v1/customers/${event.data.object.customer}`, {method: 'POST', body: 'email=late%40example.com',
    headers: {'Authorization': 'Bearer sk_test_browser', 'Content-Type': 'application/x-www-form-urlencoded'}});
  assert.equal(answer.status, 200);
  await page.getByRole('button', {name: 'Resume'}).click();
  const dialog = page.getByRole('dialog', {name: 'Resume this instance?'});
  await dialog.getByText('Steps that are finished are not run again.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), 'confirm-no');
  await page.keyboard.press('Escape');
  await dialog.waitFor({state: 'hidden'});
  await world.becomes(id, 'stuck');
  await page.getByRole('button', {name: 'Resume'}).click();
  await dialog.getByRole('button', {name: 'Resume'}).click();
  await page.getByRole('status').filter({hasText: 'Resumed'}).waitFor();
  await page.getByRole('heading', {name: 'Completed'}).waitFor();
  await page.locator('.timeline li.good', {hasText: 'create_clerk_user'}).waitFor();
  assert.equal(await page.getByRole('button', {name: /Resume|Cancel|Retry/}).count(), 0);
  await page.getByText('Ended', {exact: true}).first().waitFor();
  await world.close(page);
});

test('what waits for its next attempt is tried at once', async () => {
  await world.tell('faults', {kind: 'status', status: 503, provider: 'clerk', times: 1});
  const id = await world.purchase({email: 'waits@example.com'});
  await world.becomes(id, 'sleeping');
  const page = await world.tab();
  await world.openInstance(page, id);
  await page.getByRole('heading', {name: /Waits for its next attempt/}).waitFor();
  await page.locator('.timeline li.next', {hasText: 'Tries again at'}).waitFor();
  await page.getByRole('button', {name: 'Retry now'}).click();
  await page.getByRole('dialog').getByText('go on counting').waitFor();
  await page.getByRole('dialog').getByRole('button', {name: 'Retry now'}).click();
  await page.getByRole('status').filter({hasText: 'The next attempt begins.'}).waitFor();
  await page.getByRole('heading', {name: 'Completed'}).waitFor();
  await world.close(page);
});

test('what strangers wrote is shown as text', async () => {
  const id = `provision_customer/${evil}`;
  world.admin('start', 'provision_customer', '--id', id, '--input', JSON.stringify({note: evil, [evil]: 1}));
  await world.becomes(id, 'stuck');
  const stranger = await world.purchase({email: `${evil}@example.com`, name: evil, metadata: {note: evil}});
  await world.becomes(stranger, 'stuck');
  const page = await world.tab();
  await world.open(page, '#/instances');
  await page.getByText(evil).first().waitFor();
  await page.getByRole('link', {name: id}).click();
  await page.getByRole('heading', {name: id}).waitFor();
  await page.getByText('Input', {exact: true}).click();
  await page.locator('pre', {hasText: 'onerror'}).waitFor();
  await page.getByRole('button', {name: 'Cancel instance'}).click();
  await page.getByLabel('Reason').fill(evil);
  await page.getByRole('button', {name: 'Cancel it'}).click();
  await page.getByRole('heading', {name: 'Cancelled'}).waitFor();
  await page.locator('.timeline', {hasText: evil}).waitFor();
  await world.openInstance(page, stranger);
  await page.getByText('Input', {exact: true}).click();
  await page.locator('pre', {hasText: 'onerror'}).waitFor();
  await world.openInstance(page, `x/${evil}`);
  await page.getByText('There is no such instance').waitFor();
  await world.open(page, `#/instances?text=${encodeURIComponent(evil)}&workflow=${encodeURIComponent(evil)}&key=${encodeURIComponent(evil)}`);
  await page.getByText('No instance matches.').waitFor();
  assert.equal(await page.locator('main img').count(), 0);
  await world.close(page);
});

test('a refusal and a lost server are told, and it goes on by itself', async () => {
  const id = await world.purchase({email: null});
  await world.becomes(id, 'stuck');
  const page = await world.tab();
  await world.openInstance(page, id);
  await page.getByRole('button', {name: 'Cancel instance'}).click();
  world.admin('cancel', id);
  await page.getByRole('button', {name: 'Cancel it'}).click();
  await page.getByRole('status').filter({hasText: 'Not done'}).waitFor();
  await world.open(page, '#/');
  await page.getByRole('heading', {name: 'Overview'}).waitFor();
  await page.route('**/api/admin/**', (route) => route.abort());
  await page.getByText('No answer, trying again').waitFor();
  await page.unroute('**/api/admin/**');
  await page.locator('#live.on').waitFor();
  await world.close(page);
});
