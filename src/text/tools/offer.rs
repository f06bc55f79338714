//! Tools for models whose chat template has no place for them: described in a system message, with calls and results as
//! plain text.

use serde_json::json;

use super::super::{Message, ToolSpec};

/// The conversation with a system message that describes the tools, and asks for calls in the default format.
pub(crate) fn described(mut messages: Vec<Message>, tools: &[ToolSpec]) -> Vec<Message> {
    let list: Vec<String> = tools.iter().map(|tool| tool.to_template().to_string()).collect();
    let text = format!(
        "You may call functions to help with the user's request. Their signatures are given as JSON in <tools></tools>:\n\
         <tools>\n{}\n</tools>\n\n\
         To call a function, write a JSON object with its name and arguments in <tool_call></tool_call>:\n\
         <tool_call>\n{{\"name\": \"NAME\", \"arguments\": {{}}}}\n</tool_call>\n\
         Results come in <tool_response></tool_response>. Answer in text when no call is needed.",
        list.join("\n")
    );
    match messages.first_mut().filter(|message| matches!(message.role.as_str(), "system" | "developer")) {
        Some(system) => system.content = format!("{}\n\n{text}", system.content),
        None => messages.insert(0, Message::new("system", text)),
    }
    messages
}

/// The conversation with calls and results as text of its turns. Results in a row are one user's turn.
pub(crate) fn spelled_out(messages: &[Message]) -> Vec<Message> {
    let mut out: Vec<Message> = Vec::new();
    let mut answers = false;
    for message in messages {
        let mut message = message.clone();
        let result = message.role == "tool";
        if result {
            let text = format!("<tool_response>\n{}\n</tool_response>", message.content);
            if let Some(last) = out.last_mut().filter(|_| answers) {
                last.content = format!("{}\n{text}", last.content);
                continue;
            }
            message = Message::new("user", text);
        }
        answers = result;
        for call in std::mem::take(&mut message.tool_calls) {
            // As the prompt asks for it, and so as the model wrote it: its keys and values are reused.
            let text = format!("{{\"name\": {}, \"arguments\": {}}}", json!(call.tool_name), call.input);
            let line = if message.content.is_empty() { "" } else { "\n" };
            message.content += &format!("{line}<tool_call>\n{text}\n</tool_call>");
        }
        out.push(message);
    }
    out
}
