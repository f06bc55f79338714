//! The error type of the crate: few variants that carry the facts. [`Error::code`] is the `code` of the JavaScript
//! `EngineError`.

/// The result type of every call in this crate that an external cause can make fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kinds of file faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names are self-explanatory
pub enum FormatKind {
    BadAlignment,
    BadConfig,
    BadIndex,
    BadJson,
    BadKey,
    BadMagic,
    BadOffset,
    BadShape,
    BadShard,
    BadTokenizer,
    BadType,
    BadUtf8,
    BadValue,
    DuplicateKey,
    DuplicateTensor,
    LimitExceeded,
    MissingFile,
    MissingKey,
    MissingShard,
    MissingTensor,
    Overflow,
    Overlap,
    RegexLimit,
    SizeMismatch,
    TrailingData,
    Truncated,
    UnknownDtype,
    UnsafePath,
    UnsupportedFeature,
    UnsupportedFormat,
    UnsupportedVersion,
}

/// Why a chat template could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateKind {
    /// The template does not parse, or calls a function that does not exist.
    Invalid,
    /// The template exceeds a limit of time, depth, source length or output length.
    Limit,
    /// The model has no chat template.
    Missing,
    /// The template called `raise_exception`.
    Raised,
    /// The template leaves out the user's message.
    Suspicious,
}

/// Every failure with an external cause.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The caller's signal fired; in JavaScript the call rejects with `signal.reason` instead.
    #[error("aborted")]
    Aborted,
    /// The engine does not support the model's architecture.
    #[error("architecture {name:?} is not supported (supported: {})", supported.join(", "))]
    Architecture {
        /// The architecture's name in the checkpoint.
        name: String,
        /// The names of supported architectures.
        supported: Vec<String>,
    },
    /// One buffer or binding would be larger than the device allows.
    #[error("{what} needs a buffer of {needed} bytes; this device allows {limit}")]
    BufferLimit {
        /// What the buffer is for.
        what: String,
        /// Bytes requested.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A constraint cannot be honoured, or nothing satisfies it.
    #[error("responseConstraint{}: {message}", path.iter().map(|path| format!(" {path}")).collect::<String>())]
    Constraint {
        /// What is wrong.
        message: String,
        /// The keyword of a schema, or the part of a pattern, that is not supported.
        keyword: Option<String>,
        /// Where a JSON Schema has it: `#/properties/a/not`.
        path: Option<String>,
    },
    /// The input does not fit the context.
    #[error("the input has {input_tokens} tokens; the context holds {context_length}")]
    ContextOverflow {
        /// Tokens in the input.
        input_tokens: usize,
        /// Tokens the context holds.
        context_length: usize,
    },
    /// The GPU device went away.
    #[error("the GPU device was lost: {message}")]
    DeviceLost {
        /// The platform's message.
        message: String,
    },
    /// No kernel supports a tensor's number format.
    #[error("tensor {tensor:?} is stored as {dtype}, which is not supported for it")]
    Dtype {
        /// The tensor's published name.
        tensor: String,
        /// The stored format.
        dtype: String,
    },
    /// A file is malformed or unsupported.
    #[error("{file}: {message} [{kind:?}]")]
    Format {
        /// The kind of fault.
        kind: FormatKind,
        /// The file's name.
        file: String,
        /// What was expected and what was found.
        message: String,
    },
    /// A broken invariant of the engine, reported instead of trapping where that is possible.
    #[error("internal error: {message}")]
    Internal {
        /// Which invariant was broken.
        message: String,
    },
    /// The platform rejected a plan: a shader or a layout of bindings.
    #[error("plan {plan}: {message}")]
    Plan {
        /// The plan's label.
        plan: String,
        /// The platform's message.
        message: String,
    },
    /// The caller passed something that cannot be used.
    #[error("{argument}: {message}")]
    InvalidArgument {
        /// The argument's or option's name.
        argument: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file's hash differs from the expected one.
    #[error("{file}: its SHA-256 is {found}, not {expected}")]
    Integrity {
        /// Its name.
        file: String,
        /// In hexadecimal.
        expected: String,
        /// In hexadecimal.
        found: String,
    },
    /// A file's size differs from the expected one.
    #[error("{file}: the server's file has {found} bytes; the hub's record says {expected} bytes")]
    FileSize {
        /// Its name.
        file: String,
        /// Bytes.
        expected: u64,
        /// Bytes.
        found: u64,
    },
    /// The device refused an allocation.
    #[error("out of GPU memory: {what} needs {bytes} bytes, {allocated} are already held")]
    Memory {
        /// What the bytes are for.
        what: String,
        /// Bytes requested.
        bytes: u64,
        /// Bytes this engine already holds.
        allocated: u64,
    },
    /// A file could not be fetched or read.
    #[error("{url}: {message}")]
    Network {
        /// What was requested.
        url: String,
        /// HTTP status, if there was a response.
        status: Option<u16>,
        /// What happened.
        message: String,
        /// Whether the same call may succeed later.
        retryable: bool,
    },
    /// WebGPU is not available.
    #[error("WebGPU is not available: {reason}")]
    NoWebGpu {
        /// Why, and what a user can do.
        reason: String,
    },
    /// The model produced NaN or infinite logits.
    #[error("the model produced non-finite logits at position {position}")]
    NonFinite {
        /// Token position, counted from the start of the context.
        position: usize,
    },
    /// The chat template could not be used.
    #[error("chat template: {message} [{kind:?}]")]
    Template {
        /// The kind of fault.
        kind: TemplateKind,
        /// What happened, at most 1 KB.
        message: String,
    },
}

impl Error {
    /// Shorthand for [`Error::Format`]. Names and messages that a hostile file makes long are truncated.
    pub fn format(kind: FormatKind, file: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Format { kind, file: cut(file.into()), message: cut(message.into()) }
    }

    /// Shorthand for [`Error::InvalidArgument`].
    pub fn invalid(argument: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidArgument { argument: argument.into(), message: message.into() }
    }

    /// The `code` of the JavaScript `EngineError` (`ErrorCode` in `pkg/src/errors.ts`, which has `feature` and `storage` as well).
    pub fn code(&self) -> &'static str {
        match self {
            Self::Aborted => "abort",
            Self::Architecture { .. } => "architecture",
            Self::BufferLimit { .. } => "buffer-limit",
            Self::Constraint { .. } => "constraint",
            Self::ContextOverflow { .. } => "context-overflow",
            Self::DeviceLost { .. } => "device-lost",
            Self::Dtype { .. } => "dtype",
            Self::Format { .. } => "format",
            Self::FileSize { .. } | Self::Integrity { .. } => "integrity",
            Self::Internal { .. } | Self::Plan { .. } => "internal",
            Self::InvalidArgument { .. } => "invalid-argument",
            Self::Memory { .. } => "memory",
            Self::Network { .. } => "network",
            Self::NoWebGpu { .. } => "no-webgpu",
            Self::NonFinite { .. } => "non-finite",
            Self::Template { .. } => "template",
        }
    }

    /// Whether the same call may succeed if it is repeated unchanged.
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::Network { retryable: true, .. }
                | Self::DeviceLost { .. }
                | Self::FileSize { .. }
                | Self::Integrity { .. }
                | Self::Internal { .. }
                | Self::Plan { .. }
        )
    }

    /// The facts in the message, in a form for programs: the `detail` of the JavaScript `EngineError`.
    pub fn detail(&self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Self::Aborted => json!({}),
            Self::Architecture { name, supported } => json!({ "name": name, "supported": supported }),
            Self::BufferLimit { what, needed, limit } => json!({ "what": what, "needed": needed, "limit": limit }),
            Self::Constraint { keyword, path, .. } => json!({ "keyword": keyword, "path": path }),
            Self::ContextOverflow { input_tokens, context_length } => {
                json!({ "inputTokens": input_tokens, "contextLength": context_length })
            }
            Self::Plan { plan, message } => json!({ "plan": plan, "message": message }),
            Self::DeviceLost { message } | Self::Internal { message } => json!({ "message": message }),
            Self::Dtype { tensor, dtype } => json!({ "tensor": tensor, "dtype": dtype }),
            Self::Format { kind, file, .. } => json!({ "kind": format!("{kind:?}"), "file": file }),
            Self::FileSize { file, expected, found } => json!({ "file": file, "expected": expected, "found": found }),
            Self::Integrity { file, expected, found } => json!({ "file": file, "expected": expected, "found": found }),
            Self::InvalidArgument { argument, .. } => json!({ "argument": argument }),
            Self::Memory { what, bytes, allocated } => json!({ "what": what, "bytes": bytes, "allocated": allocated }),
            Self::Network { url, status, .. } => json!({ "url": url, "status": status }),
            Self::NoWebGpu { reason } => json!({ "reason": reason }),
            Self::NonFinite { position } => json!({ "position": position }),
            Self::Template { kind, .. } => json!({ "kind": format!("{kind:?}") }),
        }
    }
}

/// The first kilobyte of a text, with a mark if it was truncated.
fn cut(mut text: String) -> String {
    const MOST: usize = 1024;
    if text.len() > MOST {
        let end = (0..=MOST).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
