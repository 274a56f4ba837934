// The Responses API through OpenAI's client against a running server: FLOE_URL, FLOE_API_KEY.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: `${process.env.FLOE_URL}/v1`, apiKey: process.env.FLOE_API_KEY ?? 'none', maxRetries: 0, timeout: 120_000 });
const model = (await client.models.list()).data[0].id;
const base = { model, input: 'Say hello.', max_output_tokens: 24, temperature: 0 };

test('a response', async () => {
  const response = await client.responses.create(base);
  assert.equal(response.object, 'response');
  assert.equal(response.model, model);
  assert.match(response.id, /^resp_/);
  assert.ok(['completed', 'incomplete'].includes(response.status));
  assert.ok(response.output.length > 0);
  assert.equal(typeof response.output_text, 'string');
  assert.equal(response.usage.total_tokens, response.usage.input_tokens + response.usage.output_tokens);
  assert.deepEqual((await client.responses.retrieve(response.id)).output, response.output);
});

test('a stream is the same response', async () => {
  const whole = await client.responses.create(base);
  const stream = client.responses.stream(base);
  let text = '';
  let n = 0;
  let response;
  for await (const event of stream) {
    assert.equal(event.sequence_number, n++);
    if (event.type === 'response.output_text.delta') text += event.delta;
    response = event.response ?? response;
  }
  assert.equal(text, whole.output_text);
  assert.equal(response.status, whole.status);
  assert.equal(response.output.length, whole.output.length);
});

test('a conversation goes on', async () => {
  const first = await client.responses.create(base);
  const second = await client.responses.create({ ...base, input: 'And again.', previous_response_id: first.id });
  const items = [{ role: 'user', content: base.input }, ...first.output, { role: 'user', content: 'And again.' }];
  const whole = await client.responses.create({ ...base, input: items, store: false });
  assert.equal(second.output_text, whole.output_text);
  await assert.rejects(client.responses.retrieve(whole.id), (error) => error.status === 404);
  await assert.rejects(client.responses.create({ ...base, previous_response_id: 'resp_none' }), (error) => error.status === 404 && error.code === 'previous_response_not_found');
});

test('a conversation with a function goes on', async () => {
  const tools = [{ type: 'function', name: 'weather', description: 'Weather of a city', strict: false, parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } }];
  const input = [
    { role: 'user', content: 'What is the weather in Oslo?' },
    { type: 'function_call', call_id: 'call_1', name: 'weather', arguments: '{"city":"Oslo"}' },
    { type: 'function_call_output', call_id: 'call_1', output: '4 degrees, rain' },
  ];
  const response = await client.responses.create({ ...base, tools, input });
  assert.ok(response.output.every((item) => ['message', 'reasoning', 'function_call'].includes(item.type)));
  assert.deepEqual(response.tools, tools);
});

test('what is not done is refused', async () => {
  for (const more of [{ background: true }, { truncation: 'auto' }, { tools: [{ type: 'web_search' }] }, { input: [] }]) {
    await assert.rejects(client.responses.create({ ...base, ...more }), (error) => error instanceof OpenAI.BadRequestError);
  }
});
