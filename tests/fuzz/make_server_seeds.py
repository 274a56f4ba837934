#!/usr/bin/env python3
"""Writes the seeds of fuzz_http and fuzz_request: tests/fuzz/corpus/{http,request}."""
import pathlib

CORPUS = pathlib.Path(__file__).parent / "corpus"

HEAD = b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = b'{"content":"a"}'
HTTP = {
    "get": b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "get_close": b"GET /a%20b?x=%2f HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "get_http10": b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "post": HEAD + b"Content-Length: 15\r\n\r\n" + BODY,
    "post_continue": HEAD + b"Expect: 100-continue\r\nContent-Length: 15\r\n\r\n" + BODY,
    "post_empty": HEAD + b"Content-Length: 0\r\n\r\n",
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0e;a=b\r\n" + BODY[1:] + b"\r\n0\r\nA: b\r\n\r\n",
    "chunked_over": HEAD + b"Transfer-Encoding: chunked\r\n\r\n7ff\r\n" + b"x" * 2047 + b"\r\n2\r\n",
    "pipeline": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + HEAD + b"Content-Length: 15\r\n\r\n" + BODY + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "two_lengths": HEAD + b"Content-Length: 15\r\nContent-Length: 15\r\n\r\n" + BODY,
    "both_framings": HEAD + b"Content-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length_plus": HEAD + b"Content-Length: +15\r\n\r\n" + BODY,
    "length_list": HEAD + b"Content-Length: 15, 15\r\n\r\n" + BODY,
    "coding_twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
    "bare_lf": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare_cr": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "zero_byte": b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "empty_line_first": b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "many_fields": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 11 + b"\r\n",
    "long_line": b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "high_bytes": b"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xc3\xa9\xff\r\n\r\n",
    "options": b"OPTIONS /v1/models HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n\r\n",
}
CUTS = [b"\x00", b"\x03\x01\x05\x09", b"\x05\x02\x04\x06\x08\x10", b"\x0f" + bytes(range(1, 16))]

MESSAGES = '"messages":[{"role":"user","content":"hi"}]'
REQUEST = {
    "chat": "{%s}" % MESSAGES,
    "chat_all": '{%s,"model":"m","n":2,"max_tokens":5,"temperature":0.5,"top_p":0.9,"min_p":0.05,"top_k":40,"seed":1,'
                '"stop":["a","b"],"logit_bias":{"5":-1.5},"logprobs":true,"top_logprobs":5,"stream":true,'
                '"stream_options":{"include_usage":true},"frequency_penalty":1,"presence_penalty":-1,"repeat_penalty":1.1,'
                '"repeat_last_n":64,"ignore_eos":false,"timings_per_token":true,"parallel_tool_calls":false}' % MESSAGES,
    "chat_parts": '{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}',
    "chat_image": '{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///x"}}]}]}',
    "chat_tools": '{%s,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"z":{"type":"string"}}}}}],"tool_choice":"auto"}' % MESSAGES,
    "chat_tool_turns": '{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"reasoning_content":"r","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\\"x\\":1}"}}]},{"role":"tool","tool_call_id":"1","content":"t"}]}',
    "chat_arguments_object": '{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"b":1,"a":2}}}]}]}',
    "chat_thinking": '{%s,"reasoning_effort":"none","chat_template_kwargs":{"enable_thinking":false},"thinking":{"type":"disabled"},"think":false}' % MESSAGES,
    "chat_format": '{%s,"response_format":{"type":"json_schema","json_schema":{"schema":{}}}}' % MESSAGES,
    "chat_roles": '{"messages":[{"role":"system","content":"s"},{"role":"developer","content":"d"},{"role":"king","content":"k"}]}',
    "chat_prediction": '{%s,"prediction":{"type":"content","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},"speculative.n_max":4}' % MESSAGES,
    "text_prediction": '{"prompt":"hi","prediction":{"type":"content","content":"hi there"},"speculative.n_max":0}',
    "prediction_faults": '{"prompt":"hi","prediction":{"type":"content","content":[{"type":"image_url"}]}}',
    "text": '{"prompt":"hi"}',
    "text_ids": '{"prompt":[1,2,299]}',
    "text_batch": '{"prompt":["a",[1,2],"b"],"n":3,"echo":true}',
    "text_logprobs": '{"prompt":"a","logprobs":5,"n_predict":-1,"repetition_penalty":1.2}',
    "text_suffix": '{"prompt":"a","suffix":"b"}',
    "tokenize": '{"content":"abc","add_special":true,"parse_special":false,"with_pieces":true}',
    "detokenize": '{"tokens":[1,2,3]}',
    "bounds": '{"prompt":"a","n":8,"max_tokens":9007199254740992,"temperature":100,"top_k":2147483647,"seed":18446744073709551615}',
    "out_of_bounds": '{"prompt":"a","n":1000000,"max_tokens":-1,"temperature":1e308,"top_logprobs":21,"seed":1e30}',
    "bias_pairs": '{"prompt":"a","logit_bias":[[1,5],[2,-100]]}',
    "escapes": '{"content":"\\u00e9\\ud83d\\ude00\\u0000\\n\\"\\\\"}',
    "lone_surrogate": '{"content":"\\ud800"}',
    "deep": '{"prompt":"a","x":' + "[" * 255 + "]" * 255 + "}",
    "too_deep": '{"prompt":"a","x":' + "[" * 300 + "]" * 300 + "}",
    "twice": '{"prompt":"a","prompt":"b","n":1,"n":2}',
    "huge_number": '{"prompt":"a","n":1e999}',
    "two_documents": '{"prompt":"a"}{}',
    "trailing_comma": '{"prompt":"a",}',
    "nulls": '{"prompt":"a","n":null,"stop":null,"seed":null,"logit_bias":null,"logprobs":null}',
    "scored": '{"prompt":[1,2,3],"echo":true,"logprobs":3,"prompt_logprobs":2,"max_tokens":0}',
    "ends": '{"prompt":"a","min_tokens":3,"max_new_tokens":9,"stop":["",null,"b"],"stop_token_ids":[1,2.0],"bad_words":["c"]}',
    "neutral": '{"messages":[{"role":"user","content":"a"}],"max_tokens":-1,"stop":"","tools":[],"tool_choice":{"type":"auto"},'
               '"seed":1.0,"response_format":{},"modalities":["text"],"mirostat":0,"grammar":"","logit_bias":{}}',
    "thinking": '{"messages":[{"role":"user","content":"a"}],"reasoning":{"effort":"low","enabled":true},"thinking":{"type":"auto"},'
                '"chat_template_kwargs":{"clear_thinking":false,"reasoning_effort":"none"},"think":"high"}',
    "refused": '{"messages":[{"role":"user","content":"a"}],"guided_choice":["a","b"],"function_call":{"name":"f"}}',
}


def main():
    for i, (name, data) in enumerate(HTTP.items()):
        (CORPUS / "http").mkdir(parents=True, exist_ok=True)
        (CORPUS / "http" / name).write_bytes(CUTS[i % len(CUTS)] + data)
    for name, text in REQUEST.items():
        (CORPUS / "request").mkdir(parents=True, exist_ok=True)
        (CORPUS / "request" / name).write_bytes(text.encode())


if __name__ == "__main__":
    main()
