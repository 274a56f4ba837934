// A server that knows the page's side of the HTTP interface and answers from a script, so that the
// page can be tested without a model. The last message of the conversation chooses the scene.
import { createServer } from 'node:http';
import { readFileSync, readdirSync } from 'node:fs';
import { extname, join } from 'node:path';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
};

// The policy that the real server sends, read from where the real server has it.
export function pagePolicy(header_path) {
  const header = readFileSync(header_path, 'utf8');
  const value = /page_security_policy =\s*((?:"[^"]*"\s*)+);/.exec(header)?.[1];
  if (value === undefined) throw new Error(`${header_path}: page_security_policy was not found`);
  return value.replace(/"\s*"/g, '').trim().slice(1, -1);
}

export const DEMO_REASONING =
  'The question is about ice and water. I should name the density of both and give the reason: ' +
  'hydrogen bonds hold the molecules of ice in an open lattice.\n\nA short table helps, and a line of code.';
export const DEMO_ANSWER = `Ice floats because it is **less dense** than the water around it: about nine
tenths of a floe lies below the surface.

| Phase | Density |
|-------|--------:|
| Water, 4 °C | 1000 kg/m³ |
| Ice, 0 °C | 917 kg/m³ |

The share under water is the ratio of the two, \`917 / 1000\`:

\`\`\`python
def share_below(ice=917.0, water=1000.0):
    """Archimedes: the weight of the displaced water carries the floe."""
    return ice / water

print(f"{share_below():.0%} of the ice is below the surface")
\`\`\`

1. Molecules in ice stand in an *open lattice*.
2. When it melts, they move closer together.

> So a glass of iced water does not overflow when the ice melts.`;

const FIRST_PART = DEMO_ANSWER.indexOf('\n\n'); // the paragraph before the table

const pieces = (text) => text.match(/[\s\S]{1,6}/g) ?? [];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function startStub(page_dir, policy) {
  const files = new Map();
  for (const name of ['index.html', ...readdirSync(join(page_dir, 'assets')).map((n) => `assets/${n}`)]) {
    const path = name === 'index.html' ? '/' : `/${name}`;
    files.set(path, { type: TYPES[extname(name)], bytes: readFileSync(join(page_dir, name)) });
  }

  // What the tests look at afterwards.
  const seen = { requests: [], bodies: [], n_disconnected: 0, health: 200, model: 'floe-nano', chat_format: 'floe-nano' };

  // The scene "held" waits at two places until the test has seen what there is to see.
  let resume = () => undefined;
  const held = () => new Promise((resolve) => (resume = resolve));

  async function chat(request, response, body) {
    const last = body.messages.at(-1).content;
    const failure = (status, message, headers = {}) => {
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
      response.end(JSON.stringify({ error: { message, type: 'server_error', code: status } }));
    };
    if (last.startsWith('busy')) {
      if (!seen.was_busy) {
        seen.was_busy = true;
        return failure(429, 'queue is full', { 'Retry-After': '4' });
      }
    }
    if (last.startsWith('key') && request.headers.authorization !== 'Bearer sesame') return failure(401, 'no key');
    if (last.startsWith('loading')) return failure(503, 'loading model');
    if (last.startsWith('bad')) return failure(400, 'temperature: expected a number');

    let open = true;
    response.on('close', () => {
      if (!response.writableFinished) seen.n_disconnected++;
      open = false;
    });
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    let n = 0;
    const started_ms = Date.now();
    const chunk = (delta, finish = null, more = {}) => {
      const object = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: seen.model };
      const choices = [{ index: 0, delta, finish_reason: finish }];
      response.write(`data: ${JSON.stringify({ ...object, choices, ...more })}\n\n`);
    };
    const figures = () => {
      const predicted_ms = Date.now() - started_ms + 1;
      return {
        timings: {
          cache_n: 0, prompt_n: 21, prompt_ms: 30, prompt_per_second: 700,
          predicted_n: n, predicted_ms, predicted_per_second: (n * 1000) / predicted_ms,
        },
        moe: { experts_union_mean: 4.0, gb_s: 6.42, pct_floor: 68.2 },
      };
    };
    const say = async (text, field, pause_ms) => {
      for (const piece of pieces(text)) {
        if (!open) return;
        n++;
        chunk({ [field]: piece }, null, body.timings_per_token ? figures() : {});
        if (pause_ms > 0) await sleep(pause_ms);
      }
    };

    response.write(':\n\n');
    chunk({ role: 'assistant', content: null });
    if (last.startsWith('slow')) while (open) await say('ice floe '.repeat(100), 'content', 10); // until stopped
    else if (last.startsWith('cut')) {
      await say('This answer breaks', 'content', 5);
      await held(); // what has not arrived when the connection goes never will
      return request.socket.destroy();
    } else if (last.startsWith('late error')) {
      await say('Half an', 'content', 5);
      response.write('data: {"error":{"message":"the step failed","type":"server_error","param":null,"code":null}}\n\n');
      return response.end();
    } else if (last.startsWith('say:')) await say(last.slice(4), 'content', 0);
    else if (last.startsWith('long line')) {
      const part = 'a<b> '.repeat(20_000);
      for (let i = 0; i < 100 && open; i++) {
        chunk({ content: part });
        await sleep(0);
      }
    } else if (last.startsWith('held')) {
      await say(DEMO_REASONING, 'reasoning_content', 0);
      await held();
      await say(DEMO_ANSWER.slice(0, FIRST_PART), 'content', 0);
      await held();
      await say(DEMO_ANSWER.slice(FIRST_PART), 'content', 0);
    } else {
      if (body.chat_template_kwargs?.enable_thinking !== false) await say(DEMO_REASONING, 'reasoning_content', 4);
      await say(DEMO_ANSWER, 'content', 4);
    }
    if (!open) return;
    chunk({}, 'stop', figures());
    const usage = { prompt_tokens: 21, completion_tokens: n, total_tokens: 21 + n };
    response.write(`data: ${JSON.stringify({ id: 'chatcmpl-1', choices: [], usage })}\n\n`);
    response.end('data: [DONE]\n\n');
  }

  const server = createServer((request, response) => {
    seen.requests.push(`${request.method} ${request.url}`);
    const path = request.url.split('?')[0];
    const json = (value, status = 200) => {
      response.writeHead(status, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(value));
    };
    const file = files.get(path);
    if (file !== undefined) {
      response.writeHead(200, {
        'Content-Type': file.type,
        'Content-Security-Policy': policy,
        'X-Content-Type-Options': 'nosniff',
      });
      return response.end(file.bytes);
    }
    if (path === '/health') return json({ status: seen.health === 200 ? 'ok' : 'loading' }, seen.health);
    if (path === '/props') return json({ chat_format: seen.chat_format });
    if (path === '/v1/models') {
      return json({ object: 'list', data: [{ id: seen.model, object: 'model', created: 1, owned_by: 'floe' }] });
    }
    if (path === '/v1/chat/completions' && request.method === 'POST') {
      let text = '';
      request.setEncoding('utf8');
      request.on('data', (part) => (text += part));
      request.on('end', () => {
        const body = JSON.parse(text);
        seen.bodies.push(body);
        void chat(request, response, body);
      });
      return;
    }
    json({ error: { message: 'no such address' } }, 404);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    seen,
    resume: () => resume(),
    stop: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}
