import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { busy, changeSettings, chat_off, draft, send, settings, stop } from './chat.ts';
import { Icon } from './icons.tsx';

export function Composer() {
  const box = useRef<HTMLTextAreaElement>(null);
  const text = draft.value;

  // The box grows with its text up to the limit that the style sheet sets.
  useLayoutEffect(() => {
    const area = box.current;
    if (area === null) return;
    area.style.height = 'auto';
    area.style.height = `${area.scrollHeight}px`;
  }, [text]);
  useEffect(() => box.current?.focus(), []);

  const submit = () => {
    if (busy.value || chat_off.value || draft.value.trim() === '') return;
    const question = draft.value;
    draft.value = '';
    send(question);
    box.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // Enter also confirms a word in an input method: that is not a message yet. (229 is how Safari,
    // which ends the composition first, marks that key.)
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
      event.preventDefault();
      submit();
    } else if (event.key === 'Escape' && busy.value) {
      event.preventDefault();
      stop();
    }
  };

  const thinking = settings.value.thinking;
  return (
    <div class="composer">
      <div class="composer-box">
        <textarea
          ref={box}
          id="message"
          rows={1}
          value={text}
          disabled={chat_off.value}
          placeholder={chat_off.value ? 'Chat is off' : 'Ask something'}
          aria-label="Message"
          aria-describedby="keys"
          autocomplete="off"
          onInput={(event) => (draft.value = event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
        <div class="composer-row">
          <button
            type="button"
            class="toggle"
            aria-pressed={thinking}
            title="Let the model think before it answers"
            onClick={() => changeSettings({ thinking: !thinking })}
          >
            Thinking {thinking ? 'on' : 'off'}
          </button>
          <span id="keys" class="keys">
            {busy.value ? 'Esc stops' : 'Enter sends, Shift + Enter starts a new line'}
          </span>
          {busy.value ? (
            <button type="button" class="round stop" aria-label="Stop" title="Stop" onClick={stop}>
              <Icon name="stop" />
            </button>
          ) : (
            <button
              type="button"
              class="round"
              aria-label="Send"
              title="Send"
              disabled={chat_off.value || text.trim() === ''}
              onClick={submit}
            >
              <Icon name="send" />
            </button>
          )}
        </div>
      </div>
    </div>
  );
}
