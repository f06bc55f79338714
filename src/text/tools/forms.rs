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
    /// How calls are written by the model.
    pub(super) shape: Shape,
    /// How models with this form write calls, too.
    pub(super) others: &'static [Shape],
}

/// The texts around the parts of calls. In them, [`ID`] stands for an id of nine letters and digits, and
/// [`INDEX`] for the number of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Before the first call.
    pub(super) open: &'static str,
    /// Before a name.
    pub(super) name: &'static str,
    /// Between a name and the arguments.
    pub(super) arguments: &'static str,
    /// After the arguments.
    pub(super) end: &'static str,
    /// Between calls; `None` if a turn has one.
    pub(super) between: Option<&'static str>,
    /// After the last call.
    pub(super) close: &'static str,
}

/// An id, in a [`Shape`].
pub(super) const ID: char = '\u{0}';
/// The index of a call, in a [`Shape`].
pub(super) const INDEX: char = '\u{1}';

const fn shape(texts: [&'static str; 4], between: &'static str, close: &'static str) -> Shape {
    let [open, name, arguments, end] = texts;
    Shape { open, name, arguments, end, between: Some(between), close }
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
    shape: shape(["", "", "", ""], "", ""),
    others: &[],
};

const JSON: &str = "\", \"arguments\": ";

/// The form of Hermes, Qwen 2.5 and 3, SmolLM3 and Granite 4, which is also the one that prompts ask for if a template has none.
pub(super) static HERMES: Form = Form {
    signs: &["<tool_call>"],
    opens: &["<tool_call>"],
    close: &["</tool_call>"],
    shape: shape(["", "<tool_call>\n{\"name\": \"", JSON, "}\n</tool_call>"], "\n", ""),
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
    shape: Shape {
        between: None,
        ..shape(["", "<|channel|>commentary to=functions.", " <|constrain|>json<|message|>", ""], "", "")
    },
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
    Form { also: "function_calls>", shape: DSML_CALLS, ..DSML },
    // DeepSeek-V4
    DSML,
    // DeepSeek-V3, R1
    Form { also: "```json", shape: DEEPSEEK_V3, others: &[DEEPSEEK.shape], ..DEEPSEEK },
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
        shape: shape(["<minimax:tool_call>\n", "<invoke name=\"", "\">\n", "</invoke>\n"], "", "</minimax:tool_call>"),
        ..NONE
    },
    Form {
        signs: &["<seed:tool_call>"],
        opens: &["<seed:tool_call>"],
        starts: &["<function="],
        body: Body::Xml(Xml { close: &["</seed:tool_call>"], lines: false, ..QWEN_XML }),
        shape: shape(["", "<seed:tool_call>\n<function=", ">\n", "</function>\n</seed:tool_call>"], "\n", ""),
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
        shape: shape(
            ["<|tool_calls_section_begin|>", "<|tool_call_begin|>functions.", ":\u{1}<|tool_call_argument_begin|>", "<|tool_call_end|>"],
            "", "<|tool_calls_section_end|>",
        ),
        ..NONE
    },
    // LFM2
    Form {
        signs: &["<|tool_call_start|>"],
        opens: &["<|tool_call_start|>"],
        close: &["<|tool_call_end|>"],
        body: Body::Python(""),
        shape: shape(["<|tool_call_start|>[", "", "(", ")"], ", ", "]<|tool_call_end|>"),
        others: &[shape(["<|tool_call_start|>[", "{\"name\": \"", JSON, "}"], ", ", "]<|tool_call_end|>")],
        ..NONE
    },
    // Apertus
    Form {
        signs: &["<|tools_prefix|>"],
        opens: &["<|tools_prefix|>"],
        close: &["<|tools_suffix|>"],
        body: Body::Keyed,
        shape: shape(["<|tools_prefix|>[", "{\"", "\": ", "}"], ", ", "]<|tools_suffix|>"),
        ..NONE
    },
    // Command R7B
    Form {
        signs: &["<|START_ACTION|>"],
        opens: &["<|START_ACTION|>"],
        close: &["<|END_ACTION|>"],
        silent: &["<|START_RESPONSE|>", "<|END_RESPONSE|>"],
        shape: shape(
            ["<|START_ACTION|>[\n    ", "{\"tool_call_id\": \"\u{1}\", \"tool_name\": \"", "\", \"parameters\": ", "}"],
            ",\n    ", "\n]<|END_ACTION|>",
        ),
        ..NONE
    },
    // FunctionGemma
    Form {
        signs: &["<start_function_call>"],
        opens: &["<start_function_call>"],
        close: &["<end_function_call>"],
        body: Body::Braces("<escape>"),
        shape: shape(["", "<start_function_call>call:", "{", "}<end_function_call>"], "", ""),
        ..NONE
    },
    // Gemma 4
    Form {
        signs: &["<|tool_call>"],
        opens: &["<|tool_call>"],
        close: &["<tool_call|>"],
        body: Body::Braces("<|\"|>"),
        shape: shape(["", "<|tool_call>call:", "{", "}<tool_call|>"], "", ""),
        ..NONE
    },
    // Nemotron Nano v2
    Form {
        signs: &["<TOOLCALL>"],
        opens: &["<TOOLCALL>"],
        close: &["</TOOLCALL>"],
        shape: shape(["<TOOLCALL>[", "{\"name\": \"", JSON, "}"], ", ", "]</TOOLCALL>"),
        ..NONE
    },
    // Mistral, later
    Form { signs: &["[CALL_ID]"], also: "[ARGS]", shape: MISTRAL_ID, others: &[MISTRAL_NAME, MISTRAL.shape], ..MISTRAL },
    Form { signs: &["[ARGS]", "[CALL_ID]"], shape: MISTRAL_NAME, others: &[MISTRAL_ID, MISTRAL.shape], ..MISTRAL },
    MISTRAL,
    // Phi-4-mini
    Form {
        signs: &["functools"],
        opens: &["functools"],
        shape: shape(["functools[", "{\"name\": \"", JSON, "}"], ", ", "]"),
        ..NONE
    },
    // OLMo 3
    Form {
        signs: &["<function_calls>"],
        opens: &["<function_calls>"],
        close: &["</function_calls>"],
        body: Body::Python(""),
        shape: shape(["<function_calls>", "", "(", ")"], "\n", "</function_calls>"),
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
        shape: shape(["", "<tool_call>", "\n", "</tool_call>"], "\n", ""),
        ..NONE
    },
    // Qwen3-Coder, Qwen3.5, Nemotron 3
    Form {
        signs: &["<parameter="],
        opens: &["<tool_call>"],
        starts: &["<function="],
        body: Body::Xml(QWEN_XML),
        shape: shape(["", "<tool_call>\n<function=", ">\n", "</function>\n</tool_call>"], "\n", ""),
        ..NONE
    },
    // Granite 3
    Form {
        signs: &["<|tool_call|>"],
        opens: &["<|tool_call|>", "<tool_call>"],
        close: &["</tool_call>"],
        shape: shape(["<|tool_call|>[", "{\"name\": \"", JSON, "}"], ", ", "]"),
        ..NONE
    },
    // Llama 3
    Form {
        signs: &["<|python_tag|>", "\"parameters\": dictionary of argument"],
        opens: &["<|python_tag|>", "<|python_start|>"],
        close: &["<|python_end|>"],
        bare: Some('{'),
        body: Body::Python(".call"),
        shape: shape(["", "{\"name\": \"", "\", \"parameters\": ", "}"], "; ", ""),
        others: &[shape(["<|python_tag|>", "", ".call(", ")"], "; ", "")],
        ..NONE
    },
    // Llama 4, and Llama 3.2 where the template asks for it
    Form {
        signs: &["<|python_start|>", "[func_name1(", "[func1("],
        opens: &["<|python_start|>"],
        close: &["<|python_end|>"],
        bare: Some('['),
        body: Body::Python(""),
        shape: shape(["[", "", "(", ")"], ", ", "]"),
        ..NONE
    },
];

/// Mistral's first form, an array.
const MISTRAL: Form = Form {
    signs: &["[TOOL_CALLS]"],
    opens: &["[TOOL_CALLS]"],
    body: Body::Named(Named { call: "", head: Head::Mistral, after: &[], close: &[] }),
    late_id: true,
    shape: shape(["[TOOL_CALLS][", "{\"name\": \"", JSON, ", \"id\": \"\u{0}\"}"], ", ", "]"),
    ..NONE
};

/// Mistral's later forms.
const MISTRAL_NAME: Shape = shape(["", "[TOOL_CALLS]", "[ARGS]", ""], "", "");
const MISTRAL_ID: Shape = Shape { arguments: "[CALL_ID]\u{0}[ARGS]", ..MISTRAL_NAME };

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
    shape: shape(
        ["<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"],
        "",
        "<｜tool▁calls▁end｜>",
    ),
    others: &[DEEPSEEK_V3],
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
    shape: shape(
        ["<｜DSML｜tool_calls>\n", "<｜DSML｜invoke name=\"", "\">\n", "</｜DSML｜invoke>\n"],
        "",
        "</｜DSML｜tool_calls>",
    ),
    ..NONE
};

/// DeepSeek-V3.2's section has another name.
const DSML_CALLS: Shape =
    Shape { open: "<｜DSML｜function_calls>\n", close: "</｜DSML｜function_calls>", ..DSML.shape };

/// DeepSeek-V3 writes arguments in a block of code.
const DEEPSEEK_V3: Shape = Shape {
    open: "<｜tool▁calls▁begin｜>",
    name: "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
    arguments: "\n```json\n",
    end: "\n```<｜tool▁call▁end｜>",
    between: Some("\n"),
    close: "<｜tool▁calls▁end｜>",
};
