//! The stages of the pipeline whose busy time is reported, and which a trace shows.

use serde::{Deserialize, Serialize};
use tracing::{Span, trace_span};

/// A stage of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Decode,
    Transform,
    Infer,
    Encode,
    Mux,
}

/// How many stages there are.
pub const STAGES: usize = 5;

impl Stage {
    /// The stage as a slice of a trace.
    pub(super) fn span(self) -> Span {
        match self {
            Self::Decode => Slice::Decode.span(),
            Self::Transform => Slice::Transform.span(),
            Self::Infer => trace_span!("infer"),
            Self::Encode => Slice::Encode.span(),
            Self::Mux => Slice::Mux.span(),
        }
    }
}

/// What a render process's threads do, as a trace shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Slice {
    Decode,
    Transform,
    Encode,
    Mux,
    /// A picture waits for its place in the queue of the devices.
    Queue,
    /// A thread waits for a device's answer.
    Wait,
}

impl Slice {
    pub const ALL: [Self; 6] = [Self::Decode, Self::Transform, Self::Encode, Self::Mux, Self::Queue, Self::Wait];

    /// The slice as a span; disabled where nothing is traced.
    pub fn span(self) -> Span {
        match self {
            Self::Decode => trace_span!("decode"),
            Self::Transform => trace_span!("transform"),
            Self::Encode => trace_span!("encode"),
            Self::Mux => trace_span!("mux"),
            Self::Queue => trace_span!("queue"),
            Self::Wait => trace_span!("wait"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Transform => "transform",
            Self::Encode => "encode",
            Self::Mux => "mux",
            Self::Queue => "queue",
            Self::Wait => "wait",
        }
    }

    /// The slice whose span has this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slice| slice.name() == name)
    }
}
