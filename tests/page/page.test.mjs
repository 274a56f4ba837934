// The page in a real browser: against a stub server that this file starts, or, where FLOE_URL names a
// running server, against that one: then only what server and page must agree on, because the rest of the page
// is the same whoever answers.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { PAYLOADS } from './payloads.mjs';
import { DEMO_ANSWER, pagePolicy, startStub } from './stub_server.mjs';

const repo = join(dirname(fileURLToPath(import.meta.url)), '../..');
const real_url = process.env.FLOE_URL?.replace(/\/$/, '');
const api_key = process.env.FLOE_API_KEY;
const pictures = process.env.FLOE_PICTURES;
const scripted = real_url === undefined ? test : () => undefined;
// Long enough for a machine that does much else; nothing waits this long when all is well.
const patience_ms = 120_000;

let stub;
let url;
let browser;

before(async () => {
  if (real_url === undefined) {
    stub = await startStub(process.env.FLOE_PAGE_DIR, pagePolicy(join(repo, 'src/server/page.h')));
    url = stub.url;
  } else {
    url = real_url;
  }
  browser = await chromium.launch({
    executablePath: process.env.FLOE_CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  });
  if (pictures !== undefined) mkdirSync(pictures, { recursive: true });
});

after(async () => {
  await browser?.close();
  await stub?.stop();
});

// Opens the page as a new visitor and notes everything that should not happen.
async function visit(options = {}, path = '/') {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
  context.setDefaultTimeout(patience_ms);
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(`exception: ${error.message}`));
  page.on('dialog', (dialog) => {
    wrong.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('console', (line) => {
    // The browser reports every refused request; the scenes that refuse one look at the page's own words.
    const refused = line.text().startsWith('Failed to load resource') && line.location().url.includes('/v1/');
    if ((line.type() === 'error' || line.type() === 'warning') && !refused) wrong.push(`console: ${line.text()}`);
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(`${url}/`)) wrong.push(`foreign request: ${request.url()}`);
  });
  context.on('page', (other) => other !== page && wrong.push(`opened a window: ${other.url()}`));
  await page.addInitScript((key) => {
    window.__violations = [];
    document.addEventListener('securitypolicyviolation', (e) => window.__violations.push(`${e.violatedDirective} ${e.blockedURI}`));
    if (key) window.sessionStorage.setItem('floe.key', key);
  }, api_key);
  await page.goto(url + path);
  await page.getByLabel('Message', { exact: true }).waitFor();
  return {
    page,
    box: page.getByLabel('Message', { exact: true }),
    close: async () => {
      assert.deepEqual(await page.evaluate(() => window.__violations), []);
      assert.equal(await page.evaluate(() => window.__ran), undefined);
      assert.deepEqual(wrong, []);
      await context.close();
    },
  };
}

const answers = (page) => page.getByRole('article', { name: 'Answer' });
const ask = async (box, text) => {
  await box.fill(text);
  await box.press('Enter');
};
const idle = (page) => page.getByRole('button', { name: 'Send' }).waitFor();
const picture = async (page, name) => {
  if (pictures !== undefined) await page.screenshot({ path: join(pictures, `${name}.png`) });
};

// A real model ends its answer when it likes; these tests need one of a known length. The request goes
// through to the server with that added, and its answer streams back untouched.
async function answerAtLength(page, max_tokens) {
  if (real_url === undefined) return;
  await page.route('**/v1/chat/completions', (route) =>
    route.continue({ postData: JSON.stringify({ ...route.request().postDataJSON(), ignore_eos: true, max_tokens }) }),
  );
}

// Answers the page's next questions with `text`, whatever server stands behind it.
async function answerWith(page, text) {
  const chunks = text.match(/[\s\S]{1,7}/gu) ?? [];
  const lines = [...chunks.map((content) => ({ delta: { content }, finish_reason: null })), { delta: {}, finish_reason: 'stop' }];
  const body = lines.map((choice) => `data: ${JSON.stringify({ choices: [{ index: 0, ...choice }] })}\n\n`).join('');
  await page.unroute('**/v1/chat/completions');
  await page.route('**/v1/chat/completions', (route) =>
    route.fulfill({ status: 200, contentType: 'text/event-stream', body: `${body}data: [DONE]\n\n` }),
  );
}

test('loads, names the model and shows that the server is well', async () => {
  const { page, close } = await visit();
  await page.locator('.dot.ok').waitFor();
  await page.waitForFunction(() => /\S/.test(document.querySelector('[data-testid=model]').textContent));
  if (stub !== undefined) assert.equal(await page.getByTestId('model').textContent(), 'floe-nano');
  await picture(page, 'welcome-desktop');
  await close();
});

test('the headers: policy, type, and a cacheable script', async () => {
  const response = await fetch(`${url}/`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type'), /^text\/html/);
  assert.equal(response.headers.get('content-security-policy'), pagePolicy(join(repo, 'src/server/page.h')));
  assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
  const html = await response.text();
  assert.doesNotMatch(html, /<script>|<style|style=|\son\w+=/);
  const script = /src="(\/assets\/[^"]+)"/.exec(html)[1];
  const asset = await fetch(url + script);
  assert.match(asset.headers.get('content-type'), /^text\/javascript/);
  for (const path of ['/assets/favicon.svg', '/assets/licenses.txt']) {
    assert.equal((await fetch(url + path)).status, 200, path);
  }
  if (real_url !== undefined) {
    assert.match(asset.headers.get('cache-control') ?? '', /immutable/);
    const etag = response.headers.get('etag');
    assert.ok(etag, 'the document has an ETag');
    const again = await fetch(`${url}/`, { headers: { 'If-None-Match': etag } });
    assert.equal(again.status, 304);
  }
});

test('a question is answered piece by piece, with its figures', async () => {
  const { page, box, close } = await visit();
  await answerAtLength(page, 3000);
  // Noted from within the page: was there a moment with a part of the answer and the stop button?
  await page.evaluate(() => {
    new MutationObserver(() => {
      const article = document.querySelector('.message.assistant[aria-busy=true]');
      const text = article?.querySelector('.markdown, .thinking-text')?.textContent;
      if (text && document.querySelector('button[aria-label=Stop]')) window.__part_seen = true;
    }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  });
  await ask(box, 'held: why does ice float on water?');
  const answer = answers(page).first();
  if (stub !== undefined) {
    await page.getByTestId('thinking').getByText('hydrogen bonds').waitFor(); // open while it is all there is
    stub.resume();
    await answer.getByText('less dense').waitFor();
    assert.equal(await answer.locator('table').count(), 0);
    assert.equal(await answer.getAttribute('aria-busy'), 'true');
    stub.resume();
  }
  await idle(page);
  assert.equal(await page.evaluate(() => window.__part_seen), true);
  const figures = await answer.getByTestId('figures').textContent();
  assert.match(figures, /tok\/s/);
  assert.match(figures, /first token/);
  assert.match(figures, /GB\/s/);
  assert.match(figures, /experts/);
  assert.match(figures, /\d+ tokens/);
  await picture(page, 'figures-desktop');
  if (stub !== undefined) {
    const text = await answer.locator('.markdown').innerText();
    assert.match(text, /less dense than the water/);
    assert.equal(await answer.locator('table td').count(), 4);
    assert.equal(await answer.locator('.code pre').count(), 1);
    assert.equal(stub.seen.bodies.at(-1).timings_per_token, true);
  }
  await close();
});

scripted('thinking is folded away and can be opened', async () => {
  const { page, box, close } = await visit();
  await ask(box, 'demo');
  await answers(page).getByText('less dense').waitFor();
  await idle(page);
  assert.equal(await page.getByTestId('thinking').count(), 0);
  const head = page.getByRole('button', { name: /Thought for/ });
  assert.equal(await head.getAttribute('aria-expanded'), 'false');
  await head.press('Enter');
  assert.match(await page.getByTestId('thinking').textContent(), /hydrogen bonds/);
  await picture(page, 'answer-desktop');
  await close();
});

test('the stop button ends the stream, and the server sees it', async () => {
  const { page, box, close } = await visit();
  await answerAtLength(page, 3000);
  const before_stop = stub?.seen.n_disconnected;
  // Clicked from within the page: a small model can end 3000 tokens sooner than a busy machine brings
  // a click from outside.
  await page.evaluate(() => {
    const observer = new MutationObserver(() => {
      if ((document.querySelector('.message.assistant')?.textContent.length ?? 0) <= 20) return;
      observer.disconnect();
      document.querySelector('button[aria-label=Stop]').click();
    });
    observer.observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await ask(box, 'slow: write a very long story about an ice floe, at least ten thousand words.');
  await idle(page);
  await page.getByText('Stopped.', { exact: true }).waitFor();
  const length = (await answers(page).first().textContent()).length;
  await page.waitForTimeout(400);
  assert.equal((await answers(page).first().textContent()).length, length);
  if (stub !== undefined) {
    for (let i = 0; i < 50 && stub.seen.n_disconnected === before_stop; i++) await page.waitForTimeout(20);
    assert.equal(stub.seen.n_disconnected, before_stop + 1);
  }
  await close();
});

scripted('keyboard alone: write, new line, send, stop, settings, close', async () => {
  const { page, box, close } = await visit();
  await answerAtLength(page, 3000);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'message');
  await page.keyboard.type('slow: first');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('second');
  assert.equal(await box.inputValue(), 'slow: first\nsecond');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => (document.querySelector('.message.assistant')?.textContent.length ?? 0) > 5);
  assert.equal(await box.inputValue(), '');
  await page.keyboard.press('Escape');
  await idle(page);
  // Every control in the tab order has a name, and a ring that shows where the focus is.
  await page.evaluate(() => document.querySelector('.skip').focus());
  const names = [];
  for (let i = 0; i < 12; i++) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const e = document.activeElement;
      const name = e.getAttribute('aria-label') || e.textContent.trim();
      const ring = getComputedStyle(e).outlineStyle !== 'none' || e.id === 'message';
      return e === document.body ? null : { name, ring };
    });
    if (at === null) break;
    assert.ok(at.name !== '' && at.ring, JSON.stringify(at));
    names.push(at.name);
  }
  for (const name of ['New chat', 'Settings', 'Regenerate', 'Message']) assert.ok(names.includes(name), `${name} in ${names}`);
  await page.getByRole('button', { name: 'Settings' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Settings');
  await close();
});

scripted('regenerate, edit the question, new chat', async () => {
  const { page, box, close } = await visit();
  await answerWith(page, 'first answer');
  await ask(box, 'a question');
  await page.getByText('first answer').waitFor();
  await answerWith(page, 'second answer');
  await page.getByRole('button', { name: 'Regenerate' }).click();
  await page.getByText('second answer').waitFor();
  assert.equal(await answers(page).count(), 1);
  await page.getByRole('button', { name: 'Edit question' }).click();
  assert.equal(await box.inputValue(), 'a question');
  assert.equal(await page.getByRole('article').count(), 0);
  await ask(box, 'a better question');
  await page.getByText('second answer').waitFor();
  await page.getByRole('button', { name: 'New chat' }).click();
  assert.equal(await page.getByRole('article').count(), 0);
  assert.equal(await page.evaluate(() => window.localStorage.getItem('floe.chat')), null);
  await close();
});

scripted('the conversation is still there after a reload', async () => {
  const { page, box, close } = await visit();
  await answerWith(page, 'an answer to **keep**');
  await ask(box, 'a question to keep');
  await page.getByText('an answer to keep').waitFor();
  await page.reload();
  await page.getByText('an answer to keep').waitFor();
  await page.getByText('a question to keep').waitFor();
  await close();
});

scripted('spoiled storage does no harm', async () => {
  const { page, box, close } = await visit();
  for (const spoiled of ['{', '7', '[{"role":"assistant"}]', '[{"role":"user","content":"x","figures":{"gb_s":"<b>"}}]']) {
    await page.evaluate((text) => {
      window.localStorage.setItem('floe.chat', text);
      window.localStorage.setItem('floe.settings', text);
    }, spoiled);
    await page.reload();
    await box.waitFor();
  }
  await close();
});

scripted('nothing in the address makes the page act', async () => {
  const paths = ['/?q=hello', '/?prompt=hello&send=1&model=x', '/#hello', '/?q=%3Cscript%3E1%3C/script%3E#<img src=x onerror=1>'];
  for (const path of paths) {
    const { page, box, close } = await visit({}, path);
    await page.waitForTimeout(150);
    assert.equal(await box.inputValue(), '');
    assert.equal(await page.getByRole('article').count(), 0);
    await close();
  }
});

test(`${PAYLOADS.length} hostile answers stay words`, async () => {
  const { page, box, close } = await visit();
  for (const payload of PAYLOADS) {
    await answerWith(page, `before\n\n${payload}\n\nafter ${payload}\n\nend of answer`);
    await ask(box, 'x');
    await answers(page).first().getByText('end of answer').waitFor();
    await idle(page);
    const found = await page.evaluate(() => {
      const answer = document.querySelector('.message.assistant');
      const odd = 'script,img,svg:not(.icon),math,iframe,object,embed,link,style,base,meta,form,input,select,textarea,video,audio,picture,template,details,marquee,[style],[id],[name]';
      const bad = [...answer.querySelectorAll(`.markdown :is(${odd})`)].map((e) => e.outerHTML);
      for (const element of answer.querySelectorAll('*')) {
        for (const { name } of element.attributes) if (/^on/i.test(name)) bad.push(element.outerHTML);
      }
      for (const link of answer.querySelectorAll('a')) {
        if (link.hasAttribute('href') && !/^(https?|mailto):$/.test(link.protocol)) bad.push(link.outerHTML);
        if (link.hasAttribute('href') && !/noopener/.test(link.rel)) bad.push(link.outerHTML);
        if (link.target !== '_blank' && link.hasAttribute('href')) bad.push(link.outerHTML);
      }
      return bad;
    });
    assert.deepEqual(found, [], payload);
    await page.getByRole('button', { name: 'New chat' }).click();
  }
  await close();
});

scripted('a hostile question and hostile thinking are words too', async () => {
  const { page, box, close } = await visit();
  await ask(box, 'say:ok <img src=x onerror=window.__ran=1><script>window.__ran=1</script>');
  await idle(page);
  assert.equal(await page.locator('.message img, .message script').count(), 0);
  await page.route('**/v1/chat/completions', (route) =>
    route.fulfill({
      contentType: 'text/event-stream',
      body:
        'data: {"choices":[{"delta":{"reasoning_content":"<img src=x onerror=window.__ran=1>"}}]}\n\n' +
        'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
    }),
  );
  await ask(box, 'x');
  await idle(page);
  await page.getByRole('button', { name: /Thought/ }).click();
  assert.equal(await page.locator('.message img').count(), 0);
  await close();
});

scripted('a line of ten million characters does not stop the page', async () => {
  const { page, box, close } = await visit();
  await ask(box, 'long line');
  await idle(page);
  const length = await page.evaluate(() => document.querySelector('.message.assistant .markdown').textContent.length);
  assert.equal(length, 10_000_000);
  await page.getByRole('button', { name: 'New chat' }).click();
  assert.equal(await page.getByRole('article').count(), 0);
  await close();
});

scripted('what went wrong is said in words, and can be tried again', async () => {
  const { page, box, close } = await visit();
  const alert = page.getByRole('alert');
  const expectAlert = async (question, words) => {
    await ask(box, question);
    await alert.filter({ hasText: words }).waitFor();
    await idle(page);
  };
  await expectAlert('loading', /not ready yet/);
  await picture(page, 'failure-desktop');
  await expectAlert('bad', /did not accept .* temperature: expected a number/);
  await ask(box, 'cut');
  await answers(page).getByText('This answer breaks').waitFor();
  stub.resume();
  await alert.filter({ hasText: /connection broke/ }).waitFor();
  await idle(page);
  await page.getByText('Incomplete.').waitFor();
  await expectAlert('late error', /ended early.* the step failed/);
  await page.getByRole('button', { name: 'New chat' }).click();

  await expectAlert('busy', /as much work/);
  const again = page.getByRole('button', { name: /Try again/ });
  assert.equal(await again.isDisabled(), true); // until the seconds that the server asked for are over
  await page.getByRole('button', { name: 'Try again', exact: true }).click();
  await page.getByText('less dense').waitFor();
  assert.equal(await alert.count(), 0);
  await idle(page);

  await page.route('**/v1/chat/completions', (route) => route.abort());
  await expectAlert('demo', /cannot be reached/);
  await close();
});

scripted('the API key: asked for, kept for the tab only, sent', async () => {
  const { page, box, close } = await visit();
  await ask(box, 'key');
  await page.getByRole('alert').filter({ hasText: 'API key' }).waitFor();
  await page.getByRole('button', { name: 'Enter the key' }).click();
  await page.getByLabel('API key').fill('sesame');
  await page.getByLabel('API key').press('Tab');
  await page.getByRole('button', { name: 'Close the settings' }).click();
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByText('less dense').waitFor();
  assert.equal(await page.evaluate(() => window.sessionStorage.getItem('floe.key')), 'sesame');
  assert.doesNotMatch(await page.evaluate(() => JSON.stringify({ ...window.localStorage })), /sesame/);
  assert.doesNotMatch(page.url(), /sesame/);
  await idle(page);
  await close();
});

scripted('a model without a chat format: the page says that chat is off, and why', async () => {
  stub.seen.chat_format = null;
  try {
    const { page, box, close } = await visit();
    await page.getByRole('heading', { name: 'Chat is off' }).waitFor();
    await page.getByText('no chat template that floe can use').waitFor();
    assert.equal(await box.isDisabled(), true);
    assert.equal(await page.getByRole('button', { name: 'Send' }).isDisabled(), true);
    await close();
  } finally {
    stub.seen.chat_format = 'floe-nano';
  }
});

scripted('settings reach the request and outlive a reload', async () => {
  const { page, box, close } = await visit();
  await page.getByRole('button', { name: 'Settings' }).click();
  await page.getByLabel('System prompt').fill('Be brief.');
  await page.getByLabel('Temperature').fill('0.3');
  await page.getByLabel('Top p').fill('0.9');
  await page.getByLabel('Max tokens').fill('77');
  await page.getByLabel('Seed').fill('5');
  await page.getByLabel('Let the model think').uncheck();
  await page.getByLabel('Temperature').fill('hot'); // refused, the last good value stays
  await page.getByText('A number from 0 to 2').waitFor();
  await picture(page, 'settings-desktop');
  await page.keyboard.press('Escape');
  await page.reload();
  await ask(box, 'say:yes');
  await idle(page);
  const body = stub.seen.bodies.at(-1);
  assert.deepEqual(body.messages[0], { role: 'system', content: 'Be brief.' });
  assert.equal(body.temperature, 0.3);
  assert.equal(body.top_p, 0.9);
  assert.equal(body.max_tokens, 77);
  assert.equal(body.seed, 5);
  assert.deepEqual(body.chat_template_kwargs, { enable_thinking: false });
  assert.equal(body.model, 'floe-nano');
  await close();
});

scripted('the server dot follows the server', async () => {
  const { page, close } = await visit();
  stub.seen.health = 503;
  try {
    await page.reload();
    await page.locator('.dot.loading').waitFor();
    await page.getByText('loading the model').first().waitFor();
  } finally {
    stub.seen.health = 200;
  }
  await page.locator('.dot.ok').waitFor(); // it looks again by itself
  await page.route('**/health', (route) => route.abort());
  await page.reload();
  await page.locator('.dot.down').waitFor();
  await page.unroute('**/health');
  await page.context().close();
});

scripted('the copy button of a code block', async () => {
  const { page, box, close } = await visit({ permissions: ['clipboard-read', 'clipboard-write'] });
  await answerWith(page, '```sh\necho "<hi>"\n```');
  await ask(box, 'x');
  await page.getByRole('button', { name: 'Copy this code' }).click();
  await page.waitForFunction(async () => (await navigator.clipboard.readText()) !== '');
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'echo "<hi>"\n');
  await close();
});

scripted('the view follows the answer, and stays where the reader scrolled to', async () => {
  const { page, box, close } = await visit();
  await answerWith(page, Array.from({ length: 120 }, (_, i) => `Paragraph ${i}.`).join('\n\n'));
  await ask(box, 'x');
  await page.getByText('Paragraph 119.').waitFor();
  const at_end = () =>
    page.evaluate(() => {
      const view = document.querySelector('main');
      return view.scrollHeight - view.scrollTop - view.clientHeight < 40;
    });
  await page.waitForTimeout(100);
  assert.equal(await at_end(), true);
  await page.evaluate(() => (document.querySelector('main').scrollTop = 0));
  await page.getByRole('button', { name: 'To the end' }).click();
  await page.waitForTimeout(50);
  assert.equal(await at_end(), true);
  await close();
});

scripted('dark, and on a phone: nothing sticks out sideways', async () => {
  const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
  for (const scheme of ['light', 'dark']) {
    const { page, box, close } = await visit({ ...phone, colorScheme: scheme });
    await page.locator('.dot.ok').waitFor();
    await picture(page, `welcome-phone-${scheme}`);
    await answerWith(page, `${DEMO_ANSWER}\n\n\`\`\`\n${'long '.repeat(60)}\n\`\`\`\n\n${'x'.repeat(300)}`);
    await ask(box, 'Why does ice float on water?');
    await answers(page).first().waitFor();
    await idle(page);
    const too_wide = await page.evaluate(() =>
      [document.documentElement, document.querySelector('main')].map((e) => e.scrollWidth - e.clientWidth),
    );
    assert.deepEqual(too_wide, [0, 0]);
    await page.evaluate(() => (document.querySelector('main').scrollTop = 0));
    await picture(page, `answer-phone-${scheme}`);
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByRole('dialog').waitFor();
    await picture(page, `settings-phone-${scheme}`);
    await close();
  }
});
