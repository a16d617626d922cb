//! What every kind of export says of its spec. A kind is one file that implements [`KindSpec`] and [`KindInfo`], and one line in the list
//! of kinds in [`super`]; its rendering is a file of its own elsewhere.

use utoipa::{PartialSchema, ToSchema};

use super::reader::{Errors, Object};
use super::{SourceRef, SourceRule};
use crate::field_error::FieldError;
use crate::quality::Quality;
use crate::source::SourceFacts;

/// What is said of a kind, and how its spec is read. The defaults are those of a kind that makes an MP4.
pub(super) trait KindInfo: KindSpec + ToSchema + PartialSchema {
    /// The media type of the result.
    const MEDIA_TYPE: &'static str = "video/mp4";
    /// The ending of the result's file name.
    const EXTENSION: &'static str = "mp4";
    /// One line for lists of kinds.
    const ABOUT: &'static str;
    /// Examples of specs on the command line.
    const EXAMPLES: &'static str;

    /// Reads the fields beside `kind`. Fields with errors get a harmless stand-in.
    fn read(object: &mut Object, rule: SourceRule, errors: &mut Errors) -> Self;
}

/// A kind's spec: checked, and asked what rendering it needs. The defaults are those of a kind that has one source, named
/// by `video_id`, and runs no model.
pub(super) trait KindSpec {
    /// Where the pictures come from; `None` where the request names none.
    fn sources(&self) -> Vec<Option<SourceRef<'_>>>;

    /// Makes a video the source of everything.
    fn set_source(&mut self, video: &str);

    /// Where source `i` of [`KindSpec::sources`] is named, as a JSON pointer.
    fn source_pointer(&self, _: usize) -> String {
        "/video_id".to_owned()
    }

    /// What is wrong with the request for these sources, in the order of [`KindSpec::sources`].
    fn check(&self, _: &[Option<SourceFacts>]) -> Vec<FieldError> {
        Vec::new()
    }

    /// The models that rendering runs.
    fn models(&self) -> ModelNeeds<'_> {
        ModelNeeds::default()
    }

    /// The seconds of the source that rendering reads; `None`: all of it.
    fn read_range(&self) -> Option<(f64, f64)> {
        None
    }
}

/// The models that rendering a spec runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelNeeds<'a> {
    /// The upscaler's name, `auto` for the default one; `None` where nothing is upscaled.
    pub upscaler: Option<&'a str>,
    /// How the upscaler is fed; `None` is as it comes.
    pub quality: Option<Quality>,
    /// Persons are detected.
    pub detector: bool,
}

impl ModelNeeds<'_> {
    /// Where a request names its upscaler, as a JSON pointer.
    pub const UPSCALER_POINTER: &'static str = "/upscale/model";
}

/// Defines [`super::ExportSpec`] and [`super::ExportKind`] from the list of kinds.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident($spec:ty) = $name:literal,)+) => {
        /// One request to render something.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum ExportSpec {
            $($(#[doc = $doc])+ $kind($spec),)+
        }

        /// What an export makes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ExportKind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl ExportKind {
            /// Every kind there is.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// The name, as in JSON and on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }

            /// The media type of the result.
            pub fn media_type(self) -> &'static str {
                match self { $(Self::$kind => <$spec as KindInfo>::MEDIA_TYPE),+ }
            }

            /// The ending of the result's file name.
            pub fn extension(self) -> &'static str {
                match self { $(Self::$kind => <$spec as KindInfo>::EXTENSION),+ }
            }

            /// One line for lists of kinds.
            pub fn about(self) -> &'static str {
                match self { $(Self::$kind => <$spec as KindInfo>::ABOUT),+ }
            }

            /// Examples of specs on the command line.
            pub fn examples(self) -> &'static str {
                match self { $(Self::$kind => <$spec as KindInfo>::EXAMPLES),+ }
            }
        }

        impl ExportSpec {
            /// What it makes.
            pub fn kind(&self) -> ExportKind {
                match self { $(Self::$kind(_) => ExportKind::$kind),+ }
            }

            fn of_kind(&self) -> &dyn KindSpec {
                match self { $(Self::$kind(spec) => spec),+ }
            }

            fn of_kind_mut(&mut self) -> &mut dyn KindSpec {
                match self { $(Self::$kind(spec) => spec),+ }
            }

            fn read_kind(kind: ExportKind, object: &mut Object, rule: SourceRule, errors: &mut Errors) -> Self {
                match kind { $(ExportKind::$kind => Self::$kind(KindInfo::read(object, rule, errors))),+ }
            }
        }

        impl ToSchema for ExportSpec {
            fn name() -> Cow<'static, str> {
                "ExportSpec".into()
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $(<$spec as ToSchema>::schemas(schemas);)+
            }
        }

        impl PartialSchema for ExportSpec {
            fn schema() -> RefOr<Schema> {
                document::one_of([$(($name, <$spec as PartialSchema>::schema())),+])
            }
        }
    };
}
pub(super) use kinds;
