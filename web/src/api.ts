// The page's side of the HTTP interface. Only same-origin addresses, never one built from outside text.
import { asObject, parseJson, readChunk, type ChunkPart } from './chunks.ts';
import { httpFailure, networkFailure, retryAfter, streamFailure, type Failure } from './failures.ts';
import type { Settings } from './settings.ts';
import { SseParser } from './sse.ts';

export interface Turn {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/** How a stream ended: complete, stopped by the reader, or a failure. */
export type StreamEnd = { kind: 'complete' } | { kind: 'stopped' } | { kind: 'failed'; failure: Failure };

function headers(api_key: string): Record<string, string> {
  const result: Record<string, string> = { 'Content-Type': 'application/json' };
  // A header value cannot hold every character; what it cannot hold is no key either.
  if (/^[\x21-\x7e]+$/.test(api_key)) result.Authorization = `Bearer ${api_key}`;
  return result;
}

/** The request body. A setting that is left empty is left out: the server's own default holds. */
export function chatBody(model: string | null, turns: Turn[], settings: Settings): Record<string, unknown> {
  const system = settings.system_prompt.trim();
  const body: Record<string, unknown> = {
    messages: system === '' ? turns : [{ role: 'system', content: system }, ...turns],
    stream: true,
    stream_options: { include_usage: true },
    timings_per_token: true,
    chat_template_kwargs: { enable_thinking: settings.thinking },
  };
  if (model !== null) body.model = model;
  if (settings.temperature !== null) body.temperature = settings.temperature;
  if (settings.top_p !== null) body.top_p = settings.top_p;
  if (settings.max_tokens !== null) body.max_tokens = settings.max_tokens;
  if (settings.seed !== null) body.seed = settings.seed;
  return body;
}

/** Sends a chat and hands each part of the answer to `onPart` as it arrives. Never throws. */
export async function streamChat(
  body: Record<string, unknown>,
  api_key: string,
  signal: AbortSignal,
  onPart: (part: ChunkPart) => void,
): Promise<StreamEnd> {
  let anything_arrived = false;
  try {
    const response = await fetch('/v1/chat/completions', {
      method: 'POST',
      headers: headers(api_key),
      body: JSON.stringify(body),
      signal,
      credentials: 'omit',
      redirect: 'error',
    });
    if (!response.ok || response.body === null) {
      const text = (await response.text()).slice(0, 10_000);
      const again = retryAfter(response.headers.get('Retry-After'), Date.now());
      return { kind: 'failed', failure: httpFailure(response.status, text, again) };
    }
    const reader = response.body.getReader();
    const parser = new SseParser();
    let finished = false;
    for (;;) {
      const { done, value } = await reader.read();
      const events = done ? parser.end() : parser.push(value);
      for (const event of events) {
        for (const part of readChunk(event)) {
          anything_arrived = true;
          if (part.kind === 'error') {
            void reader.cancel().catch(() => undefined);
            return { kind: 'failed', failure: streamFailure(part.message) };
          }
          if (part.kind === 'finish' || part.kind === 'done') finished = true;
          onPart(part);
        }
      }
      if (done) break;
    }
    // A stream that just closes, without a reason, was cut.
    return finished ? { kind: 'complete' } : { kind: 'failed', failure: networkFailure(true) };
  } catch {
    if (signal.aborted) return { kind: 'stopped' };
    return { kind: 'failed', failure: networkFailure(anything_arrived) };
  }
}

export type Health = 'ok' | 'loading' | 'down';

export async function readHealth(): Promise<Health> {
  try {
    const response = await fetch('/health', { signal: AbortSignal.timeout(4000), cache: 'no-store' });
    void response.text().catch(() => undefined);
    if (response.ok) return 'ok';
    return response.status === 503 ? 'loading' : 'down';
  } catch {
    return 'down';
  }
}

/** The name of the first model the server lists, 'key' when it wants an API key, null when unknown. */
export async function readModel(api_key: string): Promise<{ name: string } | 'key' | null> {
  try {
    const response = await fetch('/v1/models', {
      headers: headers(api_key),
      signal: AbortSignal.timeout(8000),
      credentials: 'omit',
      cache: 'no-store',
    });
    if (response.status === 401) return 'key';
    if (!response.ok) return null;
    const list = asObject(parseJson(await response.text()))?.data;
    const id = Array.isArray(list) ? asObject(list[0])?.id : undefined;
    return typeof id === 'string' && id !== '' ? { name: id } : null;
  } catch {
    return null;
  }
}

/** Whether the server says that its model has no chat template. Not known counts as no. */
export async function readChatOff(api_key: string): Promise<boolean> {
  try {
    const response = await fetch('/props', {
      headers: headers(api_key),
      signal: AbortSignal.timeout(8000),
      credentials: 'omit',
      cache: 'no-store',
    });
    if (!response.ok) return false;
    return asObject(parseJson(await response.text()))?.chat_format === null;
  } catch {
    return false;
  }
}
