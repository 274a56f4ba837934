import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import {
  announcement,
  busy,
  chat_off,
  draft,
  failure,
  health,
  messages,
  model,
  needs_key,
  newChat,
  regenerate,
} from './chat.ts';
import { Composer } from './composer.tsx';
import { Icon, Mark } from './icons.tsx';
import { MessageView } from './message_view.tsx';
import { SettingsView, settings_open } from './settings_view.tsx';

const HEALTH_WORDS = {
  unknown: 'looking for the server',
  ok: 'ready',
  loading: 'loading the model',
  down: 'server not reachable',
};

// The message box takes the focus back after a button that vanishes under it.
const focusMessage = () => document.getElementById('message')?.focus();

function Header() {
  const words = needs_key.value ? 'needs an API key' : HEALTH_WORDS[health.value];
  return (
    <header class="top">
      <div class="brand">
        <Mark />
        <h1>floe</h1>
      </div>
      <div class="server" title={`Server: ${words}`}>
        <span class={`dot ${needs_key.value ? 'loading' : health.value}`} />
        <span class="model" data-testid="model">
          {health.value === 'ok' && model.value !== null && !needs_key.value ? model.value : words}
        </span>
        {model.value !== null && <span class="offscreen">{words}</span>}
      </div>
      <nav aria-label="Chat">
        <button
          type="button"
          class="plain"
          aria-label="New chat"
          title="New chat"
          disabled={messages.value.length === 0}
          onClick={() => {
            newChat();
            focusMessage();
          }}
        >
          <Icon name="plus" />
          <span class="wide">New chat</span>
        </button>
        <button type="button" class="plain" aria-label="Settings" title="Settings" onClick={() => (settings_open.value = true)}>
          <Icon name="sliders" />
        </button>
      </nav>
    </header>
  );
}

// Within the reach of the small bundled model, and of any larger one.
const STARTERS = [
  { title: 'Ask', text: 'What is the capital of France?' },
  { title: 'Write code', text: 'Write a Python function that reverses a string.' },
  { title: 'Explain', text: 'Why is the sky blue?' },
];

function Welcome() {
  return (
    <section class="welcome">
      <Mark />
      <h2>What would you like to ask?</h2>
      <p>The model runs on this server; nothing you write leaves it.</p>
      <ul>
        {STARTERS.map((starter) => (
          <li key={starter.title}>
            <button
              type="button"
              onClick={() => {
                draft.value = starter.text;
                focusMessage();
              }}
            >
              <b>{starter.title}</b>
              <span>{starter.text}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function ChatOff() {
  return (
    <section class="welcome" role="status">
      <Mark />
      <h2>Chat is off</h2>
      <p>
        because this model has no chat template that floe can use. Programs can have it continue a text: POST
        /v1/completions.
      </p>
    </section>
  );
}

function FailureNotice() {
  const current = failure.value;
  const [left_s, setLeft] = useState(0);
  useEffect(() => {
    if (current?.retry_after_s === undefined) return setLeft(0);
    const until_ms = Date.now() + current.retry_after_s * 1000;
    const tick = () => setLeft(Math.max(0, Math.ceil((until_ms - Date.now()) / 1000)));
    tick();
    const timer = window.setInterval(tick, 500);
    return () => window.clearInterval(timer);
  }, [current]);
  if (current === null) return null;
  return (
    <div class="failure" role="alert">
      <p>{current.text}</p>
      <div class="actions">
        {current.kind === 'key' && (
          <button type="button" onClick={() => (settings_open.value = true)}>
            Enter the key
          </button>
        )}
        {messages.value.length > 0 && (
          <button
            type="button"
            disabled={left_s > 0}
            onClick={() => {
              regenerate();
              focusMessage();
            }}
          >
            {left_s > 0 ? `Try again in ${left_s} s` : 'Try again'}
          </button>
        )}
      </div>
    </div>
  );
}

export function App() {
  const scroller = useRef<HTMLElement>(null);
  const [at_end, setAtEnd] = useState(true);
  // The view follows the answer while the reader is at its end, and stays where the reader went.
  const follows = useRef(true);
  const toEnd = () => {
    const view = scroller.current;
    if (view !== null) view.scrollTop = view.scrollHeight;
  };
  useLayoutEffect(() => {
    if (follows.current) toEnd();
  });
  useEffect(() => {
    // A new question always comes into view.
    if (busy.value) {
      follows.current = true;
      toEnd();
    }
  }, [busy.value]);
  const onScroll = () => {
    const view = scroller.current;
    if (view === null) return;
    const near = view.scrollHeight - view.scrollTop - view.clientHeight < 80;
    follows.current = near;
    setAtEnd(near);
  };

  const list = messages.value;
  const running = busy.value;
  return (
    <>
      <a class="skip" href="#message" onClick={(event) => { event.preventDefault(); focusMessage(); }}>
        Skip to the message box
      </a>
      <Header />
      <main ref={scroller} onScroll={onScroll} tabIndex={-1}>
        <div class="column">
          {list.length === 0 ? (
            chat_off.value ? <ChatOff /> : <Welcome />
          ) : (
            list.map((message, i) => (
              <MessageView
                key={message.id}
                message={message}
                running={running && i === list.length - 1 && message.role === 'assistant'}
                last={i === list.length - 1}
                idle={!running}
              />
            ))
          )}
          <FailureNotice />
        </div>
      </main>
      <div class="bottom">
        {!at_end && list.length > 0 && (
          <button type="button" class="to-end" aria-label="To the end of the conversation" onClick={toEnd}>
            <Icon name="down" />
          </button>
        )}
        <Composer />
      </div>
      <div class="offscreen" role="status">
        {announcement.value}
      </div>
      <SettingsView />
    </>
  );
}
