//! Fuzzes a chat template and renders conversations with it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use minke::text::{ChatInput, ChatTemplate, TokenizerConfig};
use serde_json::json;

#[path = "../bounds.rs"]
mod bounds;

fuzz_target!(|source: &str| {
    bounds::bounded(|| {
        let Ok(template) = ChatTemplate::new(source, &TokenizerConfig::default()) else { return };
        let call = json!({ "type": "function", "function": { "name": "f", "arguments": { "x": [1, "é"] } } });
        let messages = vec![
            json!({ "role": "system", "content": "S" }),
            json!({ "role": "user", "content": "Hi" }),
            json!({ "role": "assistant", "content": "<think>t</think>a", "tool_calls": [call] }),
            json!({ "role": "tool", "content": "1", "tool_call_id": "c" }),
            json!({ "role": "user", "content": "Bye" }),
        ];
        let tools = vec![json!({ "type": "function", "function": { "name": "f", "parameters": {} } })];
        let input = ChatInput { messages, tools, add_generation_prompt: true, now: Some(0), ..ChatInput::default() };
        if let Ok(text) = template.render(&input) {
            assert!(text.len() <= 16 << 20, "{} bytes", text.len());
        }
    });
});
