//! The forms of tool calls that are known: what declares each, its markers, and how calls are written between them.

use super::named::{Head, Named};
use super::xml::Xml;

/// A form of tool calls.
#[derive(Debug)]
pub(super) struct Form {
    /// Texts of a template, or tokens of a vocabulary, any of which declares the form.
    pub(super) signs: &'static [&'static str],
    /// What a template must have besides; "" if nothing.
    pub(super) also: &'static str,
    /// Markers before calls.
    pub(super) opens: &'static [&'static str],
    /// Markers that are the beginning of a call, if a marker of `opens` was left out.
    pub(super) starts: &'static [&'static str],
    /// Markers after calls, which models also leave out.
    pub(super) close: &'static [&'static str],
    /// What calls may begin with on a line of their own, without a marker.
    pub(super) bare: Option<char>,
    /// How calls are written; whatever it is, a JSON object after a marker is read as one.
    pub(super) body: Body,
    /// Markers of the answer, which are not part of it.
    pub(super) silent: &'static [&'static str],
    /// Whether a call's id follows its arguments.
    pub(super) late_id: bool,
    /// How a call begins, up to its name and up to its arguments.
    pub(super) begin: [&'static str; 2],
}

/// How calls are written.
#[derive(Debug)]
pub(super) enum Body {
    /// `{"name": …, "arguments": {…}}`, one or several.
    Json,
    /// `{name: {…}}`, one or several.
    Keyed,
    /// `name(key=value, …)`, one or several. What follows the names of built-in tools, which stand alone.
    Python(&'static str),
    /// A name before JSON arguments.
    Named(Named),
    /// An element for each argument.
    Xml(Xml),
    /// `call:name{key:value,…}`, with these quotation marks.
    Braces(&'static str),
}

const NONE: Form = Form {
    signs: &[],
    also: "",
    opens: &[],
    starts: &[],
    close: &[],
    bare: None,
    body: Body::Json,
    silent: &[],
    late_id: false,
    begin: ["", ""],
};

const JSON: &str = "\", \"arguments\": ";

/// The form of Hermes, Qwen 2.5 and 3, SmolLM3 and Granite 4, which is also the one that prompts ask for if a template has none.
pub(super) static HERMES: Form = Form {
    signs: &["<tool_call>"],
    opens: &["<tool_call>"],
    close: &["</tool_call>"],
    begin: ["<tool_call>\n{\"name\": \"", JSON],
    ..NONE
};

/// gpt-oss: messages with a recipient. The markers are those of the channels (`reasoning/harmony.rs`).
pub(super) static HARMONY: Form = Form {
    body: Body::Named(Named {
        call: "",
        head: Head::Harmony,
        after: &[],
        close: &["<|call|>", "<|end|>", "<|return|>"],
    }),
    begin: ["<|channel|>commentary to=functions.", " <|constrain|>json<|message|>"],
    ..NONE
};

const QWEN_XML: Xml = Xml {
    call: "<function=",
    named: ">",
    key: "<parameter=",
    keyed: ">",
    value: "",
    valued: "</parameter>",
    called: "</function>",
    close: &["</tool_call>"],
    lines: true,
};

/// The other forms, the more particular before the more general.
#[rustfmt::skip] // strings in a table
pub(super) static FORMS: &[Form] = &[
    // DeepSeek-V3.2
    Form { also: "function_calls>", begin: ["<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"", "\">\n"], ..DSML },
    // DeepSeek-V4
    DSML,
    // DeepSeek-V3, R1
    Form { also: "```json", begin: ["<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>", "\n```json\n"], ..DEEPSEEK },
    // DeepSeek-V3.1
    DEEPSEEK,
    Form {
        signs: &["<minimax:tool_call>"],
        opens: &["<minimax:tool_call>"],
        starts: &["<invoke name=\""],
        body: Body::Xml(Xml {
            call: "<invoke name=\"", named: "\">", key: "<parameter name=\"", keyed: ">", value: "", valued: "</parameter>",
            called: "</invoke>", close: &["</minimax:tool_call>"], lines: false,
        }),
        begin: ["<minimax:tool_call>\n<invoke name=\"", "\">\n"],
        ..NONE
    },
    Form {
        signs: &["<seed:tool_call>"],
        opens: &["<seed:tool_call>"],
        starts: &["<function="],
        body: Body::Xml(Xml { close: &["</seed:tool_call>"], lines: false, ..QWEN_XML }),
        begin: ["<seed:tool_call>\n<function=", ">\n"],
        ..NONE
    },
    // Kimi-K2
    Form {
        signs: &["<|tool_calls_section_begin|>"],
        opens: &["<|tool_calls_section_begin|>"],
        starts: &["<|tool_call_begin|>"],
        body: Body::Named(Named {
            call: "<|tool_call_begin|>", head: Head::Kimi, after: &["<|tool_call_end|>"], close: &["<|tool_calls_section_end|>"],
        }),
        begin: ["<|tool_calls_section_begin|><|tool_call_begin|>functions.", ":0<|tool_call_argument_begin|>"],
        ..NONE
    },
    // LFM2
    Form {
        signs: &["<|tool_call_start|>"],
        opens: &["<|tool_call_start|>"],
        close: &["<|tool_call_end|>"],
        body: Body::Python(""),
        begin: ["<|tool_call_start|>[", "("],
        ..NONE
    },
    // Apertus
    Form {
        signs: &["<|tools_prefix|>"],
        opens: &["<|tools_prefix|>"],
        close: &["<|tools_suffix|>"],
        body: Body::Keyed,
        begin: ["<|tools_prefix|>[{\"", "\": "],
        ..NONE
    },
    // Command R7B
    Form {
        signs: &["<|START_ACTION|>"],
        opens: &["<|START_ACTION|>"],
        close: &["<|END_ACTION|>"],
        silent: &["<|START_RESPONSE|>", "<|END_RESPONSE|>"],
        begin: ["<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"", "\", \"parameters\": "],
        ..NONE
    },
    // FunctionGemma
    Form {
        signs: &["<start_function_call>"],
        opens: &["<start_function_call>"],
        close: &["<end_function_call>"],
        body: Body::Braces("<escape>"),
        begin: ["<start_function_call>call:", "{"],
        ..NONE
    },
    // Gemma 4
    Form {
        signs: &["<|tool_call>"],
        opens: &["<|tool_call>"],
        close: &["<tool_call|>"],
        body: Body::Braces("<|\"|>"),
        begin: ["<|tool_call>call:", "{"],
        ..NONE
    },
    // Nemotron Nano v2
    Form {
        signs: &["<TOOLCALL>"],
        opens: &["<TOOLCALL>"],
        close: &["</TOOLCALL>"],
        begin: ["<TOOLCALL>[{\"name\": \"", JSON],
        ..NONE
    },
    // Mistral, later
    Form {
        signs: &["[ARGS]", "[CALL_ID]"],
        begin: ["[TOOL_CALLS]", "[ARGS]"],
        ..MISTRAL
    },
    MISTRAL,
    // Phi-4-mini
    Form {
        signs: &["functools"],
        opens: &["functools"],
        begin: ["functools[{\"name\": \"", JSON],
        ..NONE
    },
    // OLMo 3
    Form {
        signs: &["<function_calls>"],
        opens: &["<function_calls>"],
        close: &["</function_calls>"],
        body: Body::Python(""),
        begin: ["<function_calls>", "("],
        ..NONE
    },
    // GLM-4.5 and later
    Form {
        signs: &["<arg_key>"],
        opens: &["<tool_call>"],
        body: Body::Xml(Xml {
            call: "", named: "", key: "<arg_key>", keyed: "</arg_key>", value: "<arg_value>", valued: "</arg_value>",
            called: "</tool_call>", close: &["</tool_call>"], lines: false,
        }),
        begin: ["<tool_call>", "\n"],
        ..NONE
    },
    // Qwen3-Coder, Qwen3.5, Nemotron 3
    Form {
        signs: &["<parameter="],
        opens: &["<tool_call>"],
        starts: &["<function="],
        body: Body::Xml(QWEN_XML),
        begin: ["<tool_call>\n<function=", ">\n"],
        ..NONE
    },
    // Granite 3
    Form {
        signs: &["<|tool_call|>"],
        opens: &["<|tool_call|>", "<tool_call>"],
        close: &["</tool_call>"],
        begin: ["<|tool_call|>[{\"name\": \"", JSON],
        ..NONE
    },
    // Llama 3
    Form {
        signs: &["<|python_tag|>", "\"parameters\": dictionary of argument"],
        opens: &["<|python_tag|>", "<|python_start|>"],
        close: &["<|python_end|>"],
        bare: Some('{'),
        body: Body::Python(".call"),
        begin: ["{\"name\": \"", "\", \"parameters\": "],
        ..NONE
    },
    // Llama 4, and Llama 3.2 where the template asks for it
    Form {
        signs: &["<|python_start|>", "[func_name1(", "[func1("],
        opens: &["<|python_start|>"],
        close: &["<|python_end|>"],
        bare: Some('['),
        body: Body::Python(""),
        begin: ["[", "("],
        ..NONE
    },
];

/// Mistral's first form, an array.
const MISTRAL: Form = Form {
    signs: &["[TOOL_CALLS]"],
    opens: &["[TOOL_CALLS]"],
    body: Body::Named(Named { call: "", head: Head::Mistral, after: &[], close: &[] }),
    late_id: true,
    begin: ["[TOOL_CALLS][{\"name\": \"", JSON],
    ..NONE
};

const DEEPSEEK: Form = Form {
    signs: &["<｜tool▁calls▁begin｜>"],
    opens: &["<｜tool▁calls▁begin｜>"],
    starts: &["<｜tool▁call▁begin｜>"],
    body: Body::Named(Named {
        call: "<｜tool▁call▁begin｜>",
        head: Head::DeepSeek,
        after: &["```", "<｜tool▁call▁end｜>"],
        close: &["<｜tool▁calls▁end｜>"],
    }),
    begin: ["<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "<｜tool▁sep｜>"],
    ..NONE
};

const DSML: Form = Form {
    signs: &["｜DSML｜"],
    opens: &["<｜DSML｜tool_calls>", "<｜DSML｜function_calls>"],
    starts: &["<｜DSML｜invoke name=\""],
    body: Body::Xml(Xml {
        call: "<｜DSML｜invoke name=\"",
        named: "\">",
        key: "<｜DSML｜parameter name=\"",
        keyed: ">",
        value: "",
        valued: "</｜DSML｜parameter>",
        called: "</｜DSML｜invoke>",
        close: &["</｜DSML｜tool_calls>", "</｜DSML｜function_calls>"],
        lines: false,
    }),
    begin: ["<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"", "\">\n"],
    ..NONE
};
