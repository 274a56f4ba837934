// Anthropic's client of the Messages API against a running server: FLOE_URL, FLOE_API_KEY.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';

const url = process.env.FLOE_URL;
const apiKey = process.env.FLOE_API_KEY ?? 'none';
const client = new Anthropic({ baseURL: url, apiKey, maxRetries: 0, timeout: 120_000 });
const messages = [{ role: 'user', content: 'Say hello.' }];
const models = await fetch(`${url}/v1/models`, { headers: { 'X-Api-Key': apiKey } });
const model = (await models.json()).data[0].id;
const base = { model, messages, max_tokens: 24, temperature: 0 };

test('a message', async () => {
  const message = await client.messages.create(base);
  assert.equal(message.type, 'message');
  assert.equal(message.role, 'assistant');
  assert.equal(message.model, model);
  assert.match(message.id, /^msg_/);
  assert.ok(message.content.length > 0);
  assert.ok(['end_turn', 'max_tokens'].includes(message.stop_reason));
  assert.ok(message.usage.input_tokens + message.usage.cache_read_input_tokens > 0);
  assert.ok(message.usage.output_tokens > 0 && message.usage.output_tokens <= 24);
});

test('a stream is the same message', async () => {
  const whole = await client.messages.create(base);
  const stream = client.messages.stream(base);
  let text = '';
  stream.on('text', (piece) => (text += piece));
  const message = await stream.finalMessage();
  assert.deepEqual(message.content, whole.content);
  assert.equal(message.stop_reason, whole.stop_reason);
  assert.equal(message.usage.output_tokens, whole.usage.output_tokens);
  assert.equal(text, whole.content.filter((block) => block.type === 'text').map((block) => block.text).join(''));
});

test('count_tokens is what a message counts', async () => {
  const { input_tokens } = await client.messages.countTokens({ model, messages, system: 'Be brief.' });
  const { usage } = await client.messages.create({ ...base, system: 'Be brief.' });
  assert.equal(input_tokens, usage.input_tokens + usage.cache_read_input_tokens);
});

test('a stop sequence is named', async () => {
  const whole = await client.messages.create({ ...base, thinking: { type: 'disabled' } });
  const text = whole.content.find((block) => block.type === 'text')?.text ?? '';
  if (text.length < 4) return;
  const stop = text.slice(2, 4);
  const message = await client.messages.create({ ...base, thinking: { type: 'disabled' }, stop_sequences: [stop] });
  assert.equal(message.stop_reason, 'stop_sequence');
  assert.equal(message.stop_sequence, stop);
});

test('a conversation with a tool goes on', async () => {
  const tools = [{ name: 'weather', description: 'Weather of a city', input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } }];
  const history = [
    { role: 'user', content: 'What is the weather in Oslo?' },
    { role: 'assistant', content: [{ type: 'thinking', thinking: 'Ask.', signature: '' }, { type: 'tool_use', id: 'toolu_1', name: 'weather', input: { city: 'Oslo' } }] },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: [{ type: 'text', text: '4 degrees, rain' }] }] },
  ];
  const message = await client.messages.create({ ...base, tools, messages: history });
  assert.ok(message.content.every((block) => ['text', 'thinking', 'tool_use'].includes(block.type)));
});

test('an abort ends the stream', async () => {
  const stream = client.messages.stream({ ...base, max_tokens: 200 });
  await assert.rejects(async () => {
    for await (const event of stream) {
      if (event.type === 'content_block_delta') stream.abort();
    }
  }, Anthropic.APIUserAbortError);
});

test('errors', async () => {
  await assert.rejects(client.messages.create({ ...base, model: 'no-such-model' }), (error) => error instanceof Anthropic.NotFoundError && error.status === 404);
  await assert.rejects(client.messages.create({ ...base, messages: [] }), (error) => error instanceof Anthropic.BadRequestError && /messages/.test(error.message));
  const image = { role: 'user', content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } }] };
  await assert.rejects(client.messages.create({ ...base, messages: [image] }), (error) => error instanceof Anthropic.BadRequestError);
  if (process.env.FLOE_API_KEY === undefined) return;
  const stranger = new Anthropic({ baseURL: url, apiKey: 'wrong', maxRetries: 0 });
  await assert.rejects(stranger.messages.create(base), (error) => error instanceof Anthropic.AuthenticationError);
});
