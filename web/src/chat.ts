// The state of the page and everything that changes it.
import { signal } from '@preact/signals';
import { chatBody, readChatOff, readHealth, readModel, streamChat, type Health, type Turn } from './api.ts';
import type { ChunkPart } from './chunks.ts';
import type { Failure } from './failures.ts';
import { readMessages, readSettings, type Message, type Settings } from './settings.ts';

const CHAT_KEY = 'floe.chat';
const SETTINGS_KEY = 'floe.settings';
const API_KEY_KEY = 'floe.key';

// Storage may be switched off or full; the page then works without it.
function load(storage: () => Storage, key: string): string | null {
  try {
    return storage().getItem(key);
  } catch {
    return null;
  }
}
function save(storage: () => Storage, key: string, value: string): void {
  try {
    if (value === '') storage().removeItem(key);
    else storage().setItem(key, value);
  } catch {
    // nothing to be done, and nothing is lost that is on the screen
  }
}
const local = () => window.localStorage;
// The key goes no further than this tab.
const session = () => window.sessionStorage;

export const messages = signal<Message[]>(readMessages(load(local, CHAT_KEY)));
export const settings = signal<Settings>(readSettings(load(local, SETTINGS_KEY)));
export const api_key = signal(load(session, API_KEY_KEY) ?? '');
export const busy = signal(false);
export const failure = signal<Failure | null>(null);
export const health = signal<Health | 'unknown'>('unknown');
export const model = signal<string | null>(null);
export const needs_key = signal(false);
/** The model has no chat template: nothing can be asked here. */
export const chat_off = signal(false);
/** A sentence for screen readers: what just happened. */
export const announcement = signal('');
/** The text in the message box. */
export const draft = signal('');

let controller: AbortController | null = null;
let next_id = messages.value.length + 1;

export function keepChat(): void {
  save(local, CHAT_KEY, messages.value.length === 0 ? '' : JSON.stringify(messages.value));
}

export function changeSettings(change: Partial<Settings>): void {
  settings.value = { ...settings.value, ...change };
  save(local, SETTINGS_KEY, JSON.stringify(settings.value));
}

export function changeApiKey(key: string): void {
  api_key.value = key.trim();
  save(session, API_KEY_KEY, api_key.value);
  void lookAtServer();
}

export async function lookAtServer(): Promise<void> {
  health.value = await readHealth();
  if (health.value !== 'ok') return;
  const found = await readModel(api_key.value);
  needs_key.value = found === 'key';
  if (found !== null && found !== 'key') {
    model.value = found.name;
    chat_off.value = await readChatOff(api_key.value);
  }
}

export function send(text: string): void {
  if (busy.value || chat_off.value || text.trim() === '') return;
  messages.value = [...messages.value, blank('user', text)];
  void answer();
}

/** Asks the last question again. */
export function regenerate(): void {
  if (busy.value) return;
  dropLastAnswer();
  if (messages.value.length > 0) void answer();
}

/** Takes the last question back into the message box and forgets its answer. */
export function editLast(): void {
  if (busy.value) return;
  dropLastAnswer();
  const last = messages.value.at(-1);
  if (last === undefined) return;
  messages.value = messages.value.slice(0, -1);
  draft.value = last.content;
  failure.value = null;
  keepChat();
}

export function newChat(): void {
  stop();
  messages.value = [];
  failure.value = null;
  keepChat();
  announcement.value = 'New chat';
}

export function stop(): void {
  controller?.abort();
}

function blank(role: Message['role'], content: string): Message {
  return { id: next_id++, role, content, reasoning: '', finish: '' };
}

function dropLastAnswer(): void {
  if (messages.value.at(-1)?.role === 'assistant') messages.value = messages.value.slice(0, -1);
}

// Thinking is not sent back: the model's own format drops it from earlier turns.
function turns(): Turn[] {
  return messages.value
    .filter((m) => m.content !== '')
    .map((m) => ({ role: m.role, content: m.content }));
}

async function answer(): Promise<void> {
  const body = chatBody(model.value, turns(), settings.value);
  let current = blank('assistant', '');
  const mine = new AbortController();
  controller = mine;
  busy.value = true;
  failure.value = null;
  messages.value = [...messages.value, current];
  keepChat();
  announcement.value = 'Answering';

  const started_ms = performance.now();
  let n_pieces = 0;
  let first_piece_ms = 0;
  let reported_speed = false;
  let timer: number | undefined;

  // Tokens may come faster than a screen can show them; the page repaints at most every 40 ms, and
  // less often when the answer is so long that one repaint takes longer than that.
  let paint_ms = 0;
  const paint = () => {
    timer = undefined;
    // A chat that was cleared meanwhile has no place for this answer.
    if (messages.value.at(-1)?.id !== current.id) return;
    const before = performance.now();
    messages.value = [...messages.value.slice(0, -1), current];
    requestAnimationFrame(() => (paint_ms = performance.now() - before));
  };
  const change = (fields: Partial<Message>) => {
    current = { ...current, ...fields };
    timer ??= window.setTimeout(paint, Math.min(1000, Math.max(40, 3 * paint_ms)));
  };
  const onPart = (part: ChunkPart) => {
    const now_ms = performance.now();
    if (part.kind === 'content' || part.kind === 'reasoning') {
      n_pieces++;
      if (n_pieces === 1) {
        first_piece_ms = now_ms;
        change({ first_token_ms: now_ms - started_ms });
      }
      if (part.kind === 'reasoning') {
        change({ reasoning: current.reasoning + part.text, thinking_ms: now_ms - first_piece_ms });
      } else {
        change({ content: current.content + part.text });
      }
      if (!reported_speed && n_pieces > 1) {
        // Until the server reports its own figures: one piece is nearly always one token.
        const tokens_per_second = ((n_pieces - 1) * 1000) / Math.max(1, now_ms - first_piece_ms);
        change({ figures: { ...current.figures, n_tokens: n_pieces, tokens_per_second } });
      }
    } else if (part.kind === 'figures') {
      if (part.figures.tokens_per_second !== undefined) reported_speed = true;
      change({ figures: { ...current.figures, ...part.figures } });
    } else if (part.kind === 'finish') {
      change({ finish: part.reason === 'stop' || part.reason === 'length' ? part.reason : 'other' });
    }
  };

  const end = await streamChat(body, api_key.value, mine.signal, onPart);
  window.clearTimeout(timer);
  if (end.kind === 'stopped') current = { ...current, finish: 'stopped' };
  if (end.kind === 'failed') current = { ...current, finish: 'failed' };
  if (current.finish === '') current = { ...current, finish: 'other' };

  const still_here = messages.value.at(-1)?.id === current.id;
  if (still_here) {
    paint();
    // An answer without a word is no answer: the question stays, ready to be asked again.
    const empty = current.content === '' && current.reasoning === '';
    if (empty && end.kind !== 'complete') dropLastAnswer();
    failure.value = end.kind === 'failed' ? end.failure : null;
    announcement.value =
      end.kind === 'failed' ? end.failure.text : end.kind === 'stopped' ? 'Stopped' : 'Answer complete';
  }
  if (controller === mine) {
    controller = null;
    busy.value = false;
  }
  keepChat();
  if (end.kind === 'failed') {
    if (end.failure.kind === 'key') needs_key.value = true;
    void lookAtServer();
  }
}
