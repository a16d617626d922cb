//! The part of the ONNX format that the baked networks need: messages, a graph builder, and a reader of input shapes.
//!
//! Field numbers are those of `onnx.proto3` (ONNX 1.x, IR version 8).

use prost::{Message, Oneof};

const FLOAT: i32 = 1;
const INT64: i32 = 7;
/// Opset 13: the last one both converters need (`Split` sizes as input, `Resize` of opset 11).
const OPSET: i64 = 13;
const IR_VERSION: i64 = 8;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSet>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSet {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Weights>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, tag = "2")]
    f: f32,
    #[prost(int64, tag = "3")]
    i: i64,
    #[prost(bytes = "vec", tag = "4")]
    s: Vec<u8>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Weights {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShape>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Side>,
}

#[derive(Clone, PartialEq, Message)]
struct Side {
    #[prost(oneof = "SideValue", tags = "1, 2")]
    value: Option<SideValue>,
}

#[derive(Clone, PartialEq, Oneof)]
enum SideValue {
    #[prost(int64, tag = "1")]
    Fixed(i64),
    #[prost(string, tag = "2")]
    Named(String),
}

/// One side of an input as a file declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dimension {
    Fixed(usize),
    Named(String),
    Unnamed,
}

impl Dimension {
    pub fn fixed(&self) -> Option<usize> {
        match self {
            Self::Fixed(side) => Some(*side),
            Self::Named(_) | Self::Unnamed => None,
        }
    }
}

/// The sides of a file's one `n,3,h,w` fp32 input.
pub(crate) fn picture_input(file: &[u8]) -> Result<[Dimension; 4], String> {
    let model = Model::decode(file).map_err(|error| format!("it is no ONNX file: {error}"))?;
    let graph = model.graph.ok_or("it is an ONNX file without a graph")?;
    // Older exporters list weights among the inputs.
    let is_weight = |name: &str| graph.initializer.iter().any(|weights| weights.name == name);
    let mut inputs = graph.input.iter().filter(|input| !is_weight(&input.name));
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        return Err("it must have exactly one input".to_owned());
    };
    let tensor = input.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
    let tensor = tensor.ok_or("its input must be a tensor")?;
    if tensor.elem_type != FLOAT {
        return Err("its input must be fp32; export the model in full precision".to_owned());
    }
    let sides = tensor.shape.iter().flat_map(|shape| &shape.dim).map(|side| match &side.value {
        Some(SideValue::Fixed(value)) if *value > 0 => Dimension::Fixed(*value as usize),
        Some(SideValue::Named(name)) if !name.is_empty() => Dimension::Named(name.clone()),
        _ => Dimension::Unnamed,
    });
    let sides: Vec<Dimension> = sides.collect();
    let sides: [Dimension; 4] = sides.try_into().map_err(|_| "its input must have four sides: n,3,h,w")?;
    match sides[1].fixed() {
        Some(3) | None => Ok(sides),
        Some(channels) => Err(format!("its input must have 3 channels, not {channels}")),
    }
}

/// A graph being written, node by node in execution order.
pub(crate) struct GraphBuilder {
    graph: Graph,
}

/// An attribute of a node.
pub(crate) enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Text(&'a str),
    Ints(&'a [i64]),
}

impl GraphBuilder {
    pub fn new(name: &str) -> Self {
        let graph = Graph { name: name.to_owned(), ..Graph::default() };
        Self { graph }
    }

    /// Declares an fp32 input; sides are numbers or names.
    pub fn input(&mut self, name: &str, sides: &[&str]) {
        self.graph.input.push(value_info(name, sides));
    }

    /// Declares an fp32 output; sides are numbers or names.
    pub fn output(&mut self, name: &str, sides: &[&str]) {
        self.graph.output.push(value_info(name, sides));
    }

    pub fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.weights(name, dims, FLOAT, raw);
    }

    pub fn integers(&mut self, name: &str, values: &[i64]) {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.weights(name, &[values.len()], INT64, raw);
    }

    pub fn node(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attribute<'_>)]) {
        self.graph.node.push(Node {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: outputs.iter().map(|&name| name.to_owned()).collect(),
            name: outputs[0].to_owned(),
            op_type: op.to_owned(),
            attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
        });
    }

    /// `output` = `input` resampled by `scale` per side. `mode` is `nearest` (each pixel repeated) or `linear`
    /// (half-pixel centres).
    pub fn resize(&mut self, input: &str, output: &str, mode: &str, scale: f32) {
        let scales = format!("{output}.scales");
        self.floats(&scales, &[4], &[1.0, 1.0, scale, scale]);
        let place = if mode == "nearest" { "asymmetric" } else { "half_pixel" };
        let attributes = [
            ("mode", Attribute::Text(mode)),
            ("coordinate_transformation_mode", Attribute::Text(place)),
            ("nearest_mode", Attribute::Text("floor")),
        ];
        self.node("Resize", &[input, "", &scales], &[output], &attributes);
    }

    pub fn finish(self) -> Vec<u8> {
        let model = Model {
            ir_version: IR_VERSION,
            producer_name: "touchline".to_owned(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
        };
        model.encode_to_vec()
    }

    fn weights(&mut self, name: &str, dims: &[usize], data_type: i32, raw_data: Vec<u8>) {
        self.graph.initializer.push(Weights {
            dims: dims.iter().map(|&side| side as i64).collect(),
            data_type,
            name: name.to_owned(),
            raw_data,
        });
    }
}

fn attribute(name: &str, value: &Attribute<'_>) -> AttributeMessage {
    let named = AttributeMessage { name: name.to_owned(), ..AttributeMessage::default() };
    match value {
        Attribute::Float(f) => AttributeMessage { f: *f, kind: 1, ..named },
        Attribute::Int(i) => AttributeMessage { i: *i, kind: 2, ..named },
        Attribute::Text(text) => AttributeMessage { s: text.as_bytes().to_vec(), kind: 3, ..named },
        Attribute::Ints(ints) => AttributeMessage { ints: ints.to_vec(), kind: 7, ..named },
    }
}

fn value_info(name: &str, sides: &[&str]) -> ValueInfo {
    let dim = sides.iter().map(|side| Side {
        value: Some(match side.parse() {
            Ok(number) => SideValue::Fixed(number),
            Err(_) => SideValue::Named((*side).to_owned()),
        }),
    });
    let tensor = TensorType { elem_type: FLOAT, shape: Some(TensorShape { dim: dim.collect() }) };
    ValueInfo { name: name.to_owned(), kind: Some(Type { tensor: Some(tensor) }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_input(sides: &[&str]) -> Vec<u8> {
        let mut graph = GraphBuilder::new("test");
        graph.input("in", sides);
        graph.node("Relu", &["in"], &["out"], &[]);
        graph.output("out", sides);
        graph.finish()
    }

    #[test]
    fn input_sides_are_read_back() {
        let named = |name: &str| Dimension::Named(name.to_owned());
        let sides = picture_input(&with_input(&["n", "3", "h", "w"])).unwrap();
        assert_eq!(sides, [named("n"), Dimension::Fixed(3), named("h"), named("w")]);
        assert_eq!(picture_input(&with_input(&["1", "3", "640", "640"])).unwrap()[3].fixed(), Some(640));
    }

    #[test]
    fn files_that_take_no_picture_are_refused() {
        assert!(picture_input(b"not a model at all").unwrap_err().contains("no ONNX file"));
        assert!(picture_input(&with_input(&["1", "4", "h", "w"])).unwrap_err().contains("3 channels"));
        assert!(picture_input(&with_input(&["n", "3"])).unwrap_err().contains("four sides"));
    }
}
