//! Tests `minke serve`: the routes of OpenAI's HTTP API, whole and streamed, and what is refused.
#![allow(missing_docs)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use common::data;
use serde_json::{Value, json};

/// A server of a small model, which ends with the test.
struct Server {
    process: Child,
    /// Host and port.
    at: String,
    model: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start() -> Option<Self> {
        let folder = data("MINKE_GOLDEN", ".cache/golden")?.join("models/smollm3");
        let mut process = Command::new(env!("CARGO_BIN_EXE_minke"))
            .args(["serve", folder.to_str().expect("UTF-8"), "--port", "0", "--device", "cpu"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the command runs");
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().expect("stdout")).read_line(&mut line).expect("a line");
        let (at, model) = line.trim().split_once("/v1 serves ").expect("address and model");
        let at = at.strip_prefix("http://").expect("an address").to_owned();
        Some(Self { process, at, model: model.to_owned() })
    }

    /// Status and body of a request.
    fn ask(&self, method: &str, path: &str, host: &str, body: Option<&Value>) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.at).expect("it listens");
        let body = body.map(Value::to_string).unwrap_or_default();
        let kind = if method == "POST" { "content-type: application/json\r\n" } else { "" };
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{kind}content-length: {length}");
        write!(stream, "{head}\r\n\r\n{body}").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        (status, if chunked { dechunked(body) } else { body.to_owned() })
    }

    fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let (status, text) = self.ask("POST", path, &self.at, Some(&body));
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")))
    }

    /// The data of a stream's events.
    fn data(&self, path: &str, body: &Value) -> Vec<String> {
        let (status, text) = self.ask("POST", path, &self.at, Some(body));
        assert_eq!(status, 200, "{text}");
        text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
    }

    /// The chunks of a stream, which ends as it should.
    fn stream(&self, path: &str, body: Value) -> Vec<Value> {
        let mut data = self.data(path, &body);
        assert_eq!(data.pop().as_deref(), Some("[DONE]"));
        data.iter().map(|data| serde_json::from_str(data).expect("JSON")).collect()
    }

    /// The events of a stream.
    fn events(&self, path: &str, body: &Value) -> Vec<Value> {
        self.data(path, body).iter().map(|data| serde_json::from_str(data).expect("JSON")).collect()
    }
}

fn dechunked(body: &str) -> String {
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        whole += &after[..size];
        rest = after[size..].strip_prefix("\r\n").unwrap_or_default();
    }
    whole
}

#[test]
fn the_routes_of_openai() {
    let Some(server) = Server::start() else { return };
    let model = &server.model;
    let (status, list) = server.ask("GET", "/v1/models", &server.at, None);
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Value>(&list).expect("JSON")["data"][0]["id"], json!(model));

    let chat = json!({
        "model": model, "max_completion_tokens": 8, "temperature": 0, "logprobs": true, "top_logprobs": 2,
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "Hello" }] }],
    });
    let (status, whole) = server.post("/v1/chat/completions", chat.clone());
    assert_eq!(status, 200, "{whole}");
    let choice = &whole["choices"][0];
    assert_eq!(choice["finish_reason"], "length");
    assert_eq!(whole["usage"]["completion_tokens"], 8);
    let tokens = choice["logprobs"]["content"].as_array().expect("log-probabilities");
    assert_eq!(tokens.len(), 8);
    assert!(tokens.iter().all(|token| token["top_logprobs"].as_array().is_some_and(|top| top.len() == 2)));

    let mut streamed = chat;
    streamed["stream"] = json!(true);
    streamed["stream_options"] = json!({ "include_usage": true });
    let chunks = server.stream("/v1/chat/completions", streamed);
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let joined: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(joined, choice["message"]["content"]);
    let last = chunks.last().expect("chunks");
    assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&json!([]), &json!(8)));

    let text = json!({ "model": model, "prompt": "Once upon", "max_tokens": 4, "seed": 7, "temperature": 1, "n": 2 });
    let (status, both) = server.post("/v1/completions", text);
    assert_eq!((status, both["choices"].as_array().map(Vec::len)), (200, Some(2)), "{both}");
    assert_ne!(both["choices"][0]["text"], both["choices"][1]["text"], "each answer has its seed");
    assert_eq!(both["usage"]["completion_tokens"], 8);
}

#[test]
fn responses_of_items() {
    let Some(server) = Server::start() else { return };
    let model = &server.model;
    let body = json!({ "model": model, "input": "Hello", "max_output_tokens": 6, "temperature": 0 });
    let (status, first) = server.post("/v1/responses", body.clone());
    assert_eq!(status, 200, "{first}");
    assert_eq!(
        (&first["status"], &first["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
    assert_eq!(first["usage"]["output_tokens"], 6);
    let text = |response: &Value| -> String {
        let parts = response["output"].as_array().expect("items").iter().flat_map(|item| item["content"].as_array());
        parts.flatten().filter_map(|part| part["text"].as_str()).collect()
    };

    let mut streamed = body;
    streamed["stream"] = json!(true);
    let events = server.events("/v1/responses", &streamed);
    assert_eq!(events[0]["type"], "response.created");
    let numbers: Vec<_> = events.iter().map(|event| event["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, (0..events.len() as u64).map(Some).collect::<Vec<_>>());
    let deltas: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    let last = &events.last().expect("events")["response"];
    assert_eq!((deltas, text(last)), (text(&first), text(&first)));

    let id = first["id"].as_str().expect("an id");
    let next =
        json!({ "model": model, "input": "And?", "max_output_tokens": 4, "previous_response_id": id, "store": false });
    let (status, second) = server.post("/v1/responses", next);
    assert_eq!(status, 200, "{second}");
    let tokens = |response: &Value| response["usage"]["input_tokens"].as_u64();
    assert!(tokens(&second) > tokens(&first), "it has the turns before");
    let (status, kept) = server.ask("GET", &format!("/v1/responses/{id}"), &server.at, None);
    assert_eq!((status, serde_json::from_str::<Value>(&kept).ok()), (200, Some(first.clone())));
    let (status, input) = server.ask("GET", &format!("/v1/responses/{id}/input_items"), &server.at, None);
    assert_eq!((status, input.contains("Hello")), (200, true));
    assert_eq!(server.ask("DELETE", &format!("/v1/responses/{id}"), &server.at, None).0, 200);
    assert_eq!(server.ask("GET", &format!("/v1/responses/{id}"), &server.at, None).0, 404);
}

#[test]
fn answers_of_a_form_and_tools() {
    let Some(server) = Server::start() else { return };
    let with = |more: Value| {
        let mut body = json!({ "model": server.model, "messages": [{ "role": "user", "content": "Hello" }], "seed": 1, "reasoning_effort": "none" });
        body.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        body
    };
    let schema = json!({ "type": "object", "properties": { "n": { "enum": [1, 2] } }, "required": ["n"], "additionalProperties": false });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "number", "schema": schema } });
    let (status, bound) = server.post("/v1/chat/completions", with(json!({ "response_format": format })));
    assert_eq!(status, 200, "{bound}");
    let text = bound["choices"][0]["message"]["content"].as_str().expect("a text");
    let value: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"));
    assert!([1, 2].map(Some).contains(&value["n"].as_i64().map(|n| n as i32)), "{value}");
    let impossible = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": { "not": {} } } });
    let (status, refused) = server.post("/v1/chat/completions", with(json!({ "response_format": impossible })));
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("constraint")), "{refused}");

    let function = json!({ "name": "pick", "parameters": schema });
    let tools = json!({ "tools": [{ "type": "function", "function": function }], "tool_choice": "required" });
    let (status, called) = server.post("/v1/chat/completions", with(tools.clone()));
    assert_eq!(status, 200, "{called}");
    let choice = &called["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{called}");
    let call = &choice["message"]["tool_calls"][0]["function"];
    assert_eq!(call["name"], "pick");
    let arguments = call["arguments"].as_str().expect("JSON text");
    let parsed: Value = serde_json::from_str(arguments).expect("JSON");
    assert!(parsed["n"] == 1 || parsed["n"] == 2, "{arguments}");

    let mut streamed = with(tools);
    streamed["stream"] = json!(true);
    let chunks = server.stream("/v1/chat/completions", streamed);
    let calls = || chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"][0].as_object());
    assert!(calls().next().is_some_and(|call| call["function"]["name"] == "pick" && call["id"].is_string()));
    let made = choice["message"]["tool_calls"].as_array().expect("calls");
    for (index, whole) in made.iter().enumerate() {
        let parts = calls().filter(|call| call["index"] == index);
        let joined: String = parts.filter_map(|call| call["function"]["arguments"].as_str()).collect();
        assert_eq!(json!(joined), whole["function"]["arguments"], "call {index} of {made:?}");
    }
}

#[test]
fn what_is_refused() {
    let Some(server) = Server::start() else { return };
    let messages = json!([{ "role": "user", "content": "Hello" }]);
    let with = |more: Value| {
        let mut body = json!({ "model": server.model, "messages": messages });
        body.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        body
    };
    for (more, param) in [
        (json!({ "temperature": -1 }), "temperature"),
        (json!({ "frobnicate": 1 }), "frobnicate"),
        (json!({ "top_logprobs": 2 }), "top_logprobs"),
        (json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url" }] }] }), "messages[0]"),
        (json!({ "n": 0 }), "n"),
    ] {
        let (status, refused) = server.post("/v1/chat/completions", with(more));
        assert_eq!((status, refused["error"]["param"].as_str()), (400, Some(param)), "{refused}");
        assert_eq!(refused["error"]["type"], "invalid_request_error");
    }
    let (status, refused) = server.post("/v1/chat/completions", with(json!({ "model": "gpt-4" })));
    assert_eq!((status, &refused["error"]["code"]), (404, &json!("model_not_found")));
    let long = "word ".repeat(20_000);
    let (status, refused) =
        server.post("/v1/chat/completions", with(json!({ "messages": [{ "role": "user", "content": long }] })));
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("context_length_exceeded")), "{refused}");
    assert_eq!(server.ask("GET", "/v1/models", "evil.example", None).0, 400, "another host's name");
    assert_eq!(server.ask("GET", "/v1/nothing", &server.at, None).0, 404);
}
