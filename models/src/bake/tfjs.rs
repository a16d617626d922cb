//! TensorFlow.js graph model to ONNX, for NanoDet.
//!
//! The published graph was itself converted from ONNX: every feature map is n,c,h,w, and transposes to TensorFlow's
//! n,h,w,c stand around each convolution, pooling and resize only. The converter follows the layout instead of
//! transposing, folds padding and biases into the convolutions, and makes batch, height and width free. Resizes become
//! factors, reshapes `(0, channels, -1)`; the shape arithmetic that built those constants is dropped.

use super::onnx::{Attribute, GraphBuilder};
use half::f16;
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::{BTreeMap, HashMap};

/// Base64 of `VALID` and `NHWC`, as the JSON carries byte strings.
const VALID: &str = "VkFMSUQ=";
const NHWC: &str = "TkhXQw==";

#[derive(Deserialize)]
struct Document {
    signature: Signature,
    #[serde(rename = "modelTopology")]
    topology: Topology,
    #[serde(rename = "weightsManifest")]
    weights: Vec<WeightGroup>,
}

#[derive(Deserialize)]
struct Signature {
    outputs: BTreeMap<String, Json>,
}

#[derive(Deserialize)]
struct Topology {
    node: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    name: String,
    op: String,
    #[serde(default)]
    input: Vec<String>,
    #[serde(default)]
    attr: Json,
}

#[derive(Deserialize)]
struct WeightGroup {
    weights: Vec<WeightSpec>,
}

#[derive(Deserialize)]
struct WeightSpec {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    quantization: Option<Quantization>,
}

#[derive(Deserialize)]
struct Quantization {
    dtype: String,
}

struct Constant {
    shape: Vec<usize>,
    values: Vec<f32>,
}

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    ChannelsFirst,
    ChannelsLast,
}

/// A feature map in the new graph, always n,c,h,w there; `layout` is how the old graph sees it at this point.
#[derive(Clone)]
struct Feature {
    name: String,
    channels: usize,
    /// Height and width at the input size that the file was traced with; only ratios matter.
    traced: [usize; 2],
    layout: Layout,
    /// Padding of each side that the next convolution or pooling takes in.
    pad: i64,
}

/// Converts NanoDet; outputs are named `scores_S` and `boxes_S` for stride S.
pub(super) fn to_onnx(name: &str, json: &str, weights: &[u8]) -> Result<Vec<u8>, String> {
    let document: Document = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let nodes = document.topology.node.iter().map(|node| (node.name.as_str(), node)).collect();
    let mut converter = Converter {
        graph: GraphBuilder::new(name),
        nodes,
        constants: read_weights(&document.weights, weights)?,
        done: HashMap::new(),
        traced_height: 0,
    };
    for output in document.signature.outputs.keys() {
        let result = converter.convert(output)?;
        let channels = result.channels.to_string();
        let cells = result.name.replace("scores", "cells").replace("boxes", "cells");
        converter.graph.output(&result.name, &["n", &cells, &channels]);
    }
    Ok(converter.graph.finish())
}

fn read_weights(groups: &[WeightGroup], mut bytes: &[u8]) -> Result<HashMap<String, Constant>, String> {
    let mut constants = HashMap::new();
    for spec in groups.iter().flat_map(|group| &group.weights) {
        let count: usize = spec.shape.iter().product();
        let stored = spec.quantization.as_ref().map_or(spec.dtype.as_str(), |stored| &stored.dtype);
        let size = match stored {
            "float16" => 2,
            "float32" | "int32" => 4,
            other => return Err(format!("weights {} are stored as {other}", spec.name)),
        };
        let (taken, rest) = bytes.split_at_checked(size * count).ok_or("the weights end early")?;
        bytes = rest;
        let words = taken.as_chunks::<4>().0.iter();
        let values = match stored {
            "float16" => taken.as_chunks::<2>().0.iter().map(|&half| f16::from_le_bytes(half).to_f32()).collect(),
            "float32" => words.map(|&word| f32::from_le_bytes(word)).collect(),
            // All integers here are small sizes, axes and orders, exact in fp32.
            _ => words.map(|&word| i32::from_le_bytes(word) as f32).collect(),
        };
        constants.insert(spec.name.clone(), Constant { shape: spec.shape.clone(), values });
    }
    match bytes.len() {
        0 => Ok(constants),
        left => Err(format!("{left} bytes of weights are left over")),
    }
}

struct Converter<'a> {
    graph: GraphBuilder,
    nodes: HashMap<&'a str, &'a Node>,
    constants: HashMap<String, Constant>,
    done: HashMap<String, Feature>,
    traced_height: usize,
}

impl<'a> Converter<'a> {
    /// The feature of `reference` (`node` or `node:output`), converting what it depends on first.
    fn convert(&mut self, reference: &str) -> Result<Feature, String> {
        let key = reference.strip_suffix(":0").unwrap_or(reference);
        if let Some(feature) = self.done.get(key) {
            return Ok(feature.clone());
        }
        let name = key.split(':').next().unwrap_or(key);
        let node = *self.nodes.get(name).ok_or_else(|| format!("there is no node {name}"))?;
        let feature = self.node(node, key).map_err(|what| match what.starts_with("node ") {
            true => what,
            false => format!("node {} {name}: {what}", node.op),
        })?;
        self.done.insert(key.to_owned(), feature.clone());
        Ok(feature)
    }

    fn node(&mut self, node: &'a Node, key: &str) -> Result<Feature, String> {
        match node.op.as_str() {
            "Placeholder" => self.placeholder(node),
            "Identity" => self.convert(input(node, 0)?),
            "Transpose" => self.transpose(node),
            "Pad" => self.pad(node, 0.0),
            "PadV2" => self.pad(node, f32::NEG_INFINITY),
            "Conv2D" => self.convolution(node, None),
            "Add" | "AddV2" => self.add(node),
            "LeakyRelu" => {
                let alpha = node.attr["alpha"]["f"].as_f64().ok_or("it has no alpha")? as f32;
                self.elementwise(node, "LeakyRelu", &[("alpha", Attribute::Float(alpha))])
            }
            "Sigmoid" => self.elementwise(node, "Sigmoid", &[]),
            "MaxPool" => self.max_pool(node),
            "ConcatV2" => self.concat(node),
            "SplitV" => self.split(node, key),
            "ResizeBilinear" => self.resize(node),
            "Reshape" => self.reshape(node),
            other => Err(format!("operations of type {other} are not known")),
        }
    }

    fn placeholder(&mut self, node: &Node) -> Result<Feature, String> {
        let dims = node.attr["shape"]["shape"]["dim"].as_array().ok_or("it has no shape")?;
        let sides: Vec<usize> = dims.iter().filter_map(|dim| dim["size"].as_str()?.parse().ok()).collect();
        let [_, 3, height, width] = sides[..] else {
            return Err(format!("its shape is {sides:?}, not n,3,h,w"));
        };
        self.traced_height = height;
        self.graph.input("input", &["n", "3", "h", "w"]);
        Ok(Feature {
            name: "input".to_owned(),
            channels: 3,
            traced: [height, width],
            layout: Layout::ChannelsFirst,
            pad: 0,
        })
    }

    /// Between n,c,h,w and n,h,w,c only the layout note changes; (0, 2, 1) ends the graph and is real.
    fn transpose(&mut self, node: &Node) -> Result<Feature, String> {
        let feature = self.convert(input(node, 0)?)?;
        let order = self.integers(input(node, 1)?)?;
        match (order.as_slice(), feature.layout) {
            ([0, 2, 3, 1], Layout::ChannelsFirst) => Ok(Feature { layout: Layout::ChannelsLast, ..feature }),
            ([0, 3, 1, 2], Layout::ChannelsLast) => Ok(Feature { layout: Layout::ChannelsFirst, ..feature }),
            ([0, 2, 1], Layout::ChannelsFirst) => {
                // Classes come out of a sigmoid, box sides are raw.
                let kind = if feature.name.contains("Sigmoid") { "scores" } else { "boxes" };
                let name = format!("{kind}_{}", self.traced_height / feature.traced[0]);
                let attribute = [("perm", Attribute::Ints(&[0, 2, 1]))];
                self.graph.node("Transpose", &[&feature.name], &[&name], &attribute);
                Ok(Feature { name, ..feature })
            }
            _ => Err(format!("the order {order:?} is not known here")),
        }
    }

    fn pad(&mut self, node: &Node, filling: f32) -> Result<Feature, String> {
        let feature = self.plain(input(node, 0)?)?;
        let pads = self.integers(input(node, 1)?)?;
        let [0, 0, 0, 0, top, bottom, left, right] = pads[..] else {
            return Err(format!("pads {pads:?} are not known"));
        };
        let even = top == bottom && top == left && top == right && feature.layout == Layout::ChannelsFirst;
        if !even {
            return Err(format!("pads {pads:?} are not even"));
        }
        if let Some(value) = node.input.get(2) {
            let given = self.constant(value)?.values.first().copied();
            if given != Some(filling) {
                return Err(format!("it pads with {given:?}"));
            }
        }
        Ok(Feature { pad: top, ..feature })
    }

    /// `Add` after a convolution is its bias; else a sum of two features.
    fn add(&mut self, node: &'a Node) -> Result<Feature, String> {
        let (left, right) = (input(node, 0)?, input(node, 1)?);
        if self.constants.contains_key(right) {
            let convolution = *self.nodes.get(left).ok_or_else(|| format!("there is no node {left}"))?;
            if convolution.op != "Conv2D" {
                return Err("a constant is added to something other than a convolution".to_owned());
            }
            return self.convolution(convolution, Some(right));
        }
        let (left, right) = (self.plain(left)?, self.plain(right)?);
        if left.layout != right.layout || left.traced != right.traced || left.channels != right.channels {
            return Err("its inputs differ in shape".to_owned());
        }
        self.graph.node("Add", &[&left.name, &right.name], &[&node.name], &[]);
        Ok(Feature { name: node.name.clone(), ..left })
    }

    fn convolution(&mut self, node: &Node, bias: Option<&str>) -> Result<Feature, String> {
        let feature = self.convert(input(node, 0)?)?;
        let stride = window_stride(node)?;
        require_layout(&feature)?;
        let kernel = self.constant(input(node, 1)?)?;
        let [height, width, inputs, outputs] = kernel.shape[..] else {
            return Err("its kernel is not h,w,in,out".to_owned());
        };
        if inputs != feature.channels || height != width {
            return Err(format!("its kernel is {:?} for {} channels", kernel.shape, feature.channels));
        }
        let values = outputs_first(kernel, height * width, inputs, outputs);
        let weight = format!("{}.weight", node.name);
        self.graph.floats(&weight, &[outputs, inputs, height, width], &values);
        let mut operands = vec![feature.name.clone(), weight];
        if let Some(bias) = bias {
            let name = format!("{}.bias", node.name);
            let values = &self.constants.get(bias).ok_or("its bias is missing")?.values;
            self.graph.floats(&name, &[outputs], values);
            operands.push(name);
        }
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        self.window("Conv", &operands, node, &feature, height, stride);
        Ok(Feature {
            name: node.name.clone(),
            channels: outputs,
            traced: slid(&feature, height, stride),
            layout: Layout::ChannelsLast,
            pad: 0,
        })
    }

    fn max_pool(&mut self, node: &Node) -> Result<Feature, String> {
        let feature = self.convert(input(node, 0)?)?;
        require_layout(&feature)?;
        let [1, size, also, 1] = integer_list(&node.attr["ksize"])[..] else {
            return Err("its window is not known".to_owned());
        };
        if size != also {
            return Err("its window is not square".to_owned());
        }
        let (size, stride) = (size as usize, window_stride(node)?);
        self.window("MaxPool", &[&feature.name], node, &feature, size, stride);
        let traced = slid(&feature, size, stride);
        Ok(Feature { name: node.name.clone(), traced, pad: 0, ..feature })
    }

    fn window(&mut self, op: &str, operands: &[&str], node: &Node, over: &Feature, size: usize, stride: usize) {
        let attributes = [
            ("kernel_shape", Attribute::Ints(&[size as i64; 2])),
            ("strides", Attribute::Ints(&[stride as i64; 2])),
            ("pads", Attribute::Ints(&[over.pad; 4])),
        ];
        self.graph.node(op, operands, &[&node.name], &attributes);
    }

    fn elementwise(&mut self, node: &Node, op: &str, attributes: &[(&str, Attribute<'_>)]) -> Result<Feature, String> {
        let feature = self.plain(input(node, 0)?)?;
        self.graph.node(op, &[&feature.name], &[&node.name], attributes);
        Ok(Feature { name: node.name.clone(), ..feature })
    }

    fn concat(&mut self, node: &Node) -> Result<Feature, String> {
        let (axis, parts) = node.input.split_last().ok_or("it has no inputs")?;
        if self.integers(axis)? != [1] {
            return Err("only channels are joined".to_owned());
        }
        let parts: Vec<Feature> = parts.iter().map(|part| self.plain(part)).collect::<Result<_, _>>()?;
        let first = parts.first().ok_or("it has no inputs")?;
        if parts.iter().any(|part| part.layout != Layout::ChannelsFirst || part.traced != first.traced) {
            return Err("its inputs differ in shape".to_owned());
        }
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        self.graph.node("Concat", &names, &[&node.name], &[("axis", Attribute::Int(1))]);
        let channels = parts.iter().map(|part| part.channels).sum();
        Ok(Feature { name: node.name.clone(), channels, ..first.clone() })
    }

    /// Converts all parts at once and answers with the one that `key` names.
    fn split(&mut self, node: &Node, key: &str) -> Result<Feature, String> {
        let feature = self.plain(input(node, 0)?)?;
        let sizes = self.integers(input(node, 1)?)?;
        let axis = self.integers(input(node, 2)?)?;
        if axis != [1] || feature.layout != Layout::ChannelsFirst {
            return Err("only channels are split".to_owned());
        }
        let lengths = format!("{}.sizes", node.name);
        self.graph.integers(&lengths, &sizes);
        let keys: Vec<String> = (0..sizes.len())
            .map(|index| if index == 0 { node.name.clone() } else { format!("{}:{index}", node.name) })
            .collect();
        let outputs: Vec<&str> = keys.iter().map(String::as_str).collect();
        self.graph.node("Split", &[&feature.name, &lengths], &outputs, &[("axis", Attribute::Int(1))]);
        for (name, size) in keys.iter().zip(sizes) {
            let part = Feature { name: name.clone(), channels: size as usize, ..feature.clone() };
            self.done.insert(name.clone(), part);
        }
        self.done.get(key).cloned().ok_or_else(|| format!("there is no part {key}"))
    }

    fn resize(&mut self, node: &Node) -> Result<Feature, String> {
        let feature = self.plain(input(node, 0)?)?;
        require_layout(&feature)?;
        let half_pixel = node.attr["half_pixel_centers"]["b"] == Json::Bool(true);
        if !half_pixel || node.attr["align_corners"]["b"] == Json::Bool(true) {
            return Err("only half-pixel centres are known".to_owned());
        }
        let size = self.integers(input(node, 1)?)?;
        let [height, width] = size[..] else {
            return Err(format!("its size is {size:?}"));
        };
        let traced = [height as usize, width as usize];
        let factor = traced[0] as f32 / feature.traced[0] as f32;
        if traced[1] as f32 / feature.traced[1] as f32 != factor {
            return Err("its factors differ".to_owned());
        }
        self.graph.resize(&feature.name, &node.name, "linear", factor);
        Ok(Feature { name: node.name.clone(), traced, ..feature })
    }

    /// All reshapes flatten height and width: n,c,h,w to n,c,cells.
    fn reshape(&mut self, node: &Node) -> Result<Feature, String> {
        let feature = self.plain(input(node, 0)?)?;
        if feature.layout != Layout::ChannelsFirst {
            return Err("only n,c,h,w is flattened".to_owned());
        }
        let target = format!("{}.shape", node.name);
        self.graph.integers(&target, &[0, feature.channels as i64, -1]);
        // The name of what is flattened is kept in the new one: outputs are named by it.
        let name = format!("{}.flat", feature.name);
        self.graph.node("Reshape", &[&feature.name, &target], &[&name], &[]);
        Ok(Feature { name, ..feature })
    }

    /// A feature that no padding waits on.
    fn plain(&mut self, reference: &str) -> Result<Feature, String> {
        let feature = self.convert(reference)?;
        match feature.pad {
            0 => Ok(feature),
            _ => Err("padding before something other than a convolution or pooling".to_owned()),
        }
    }

    fn constant(&self, name: &str) -> Result<&Constant, String> {
        self.constants.get(name).ok_or_else(|| format!("{name} is not a constant"))
    }

    fn integers(&self, name: &str) -> Result<Vec<i64>, String> {
        Ok(self.constant(name)?.values.iter().map(|&value| value as i64).collect())
    }
}

/// TensorFlow keeps kernels as h,w,in,out; ONNX as out,in,h,w.
fn outputs_first(kernel: &Constant, positions: usize, inputs: usize, outputs: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(kernel.values.len());
    for output in 0..outputs {
        for channel in 0..inputs {
            let at = |position: usize| kernel.values[(position * inputs + channel) * outputs + output];
            values.extend((0..positions).map(at));
        }
    }
    values
}

/// Sides after a window of `size` slid over the padded feature.
fn slid(feature: &Feature, size: usize, stride: usize) -> [usize; 2] {
    feature.traced.map(|side| (side + 2 * feature.pad as usize - size) / stride + 1)
}

fn require_layout(feature: &Feature) -> Result<(), String> {
    match feature.layout {
        Layout::ChannelsLast => Ok(()),
        Layout::ChannelsFirst => Err("its input should be n,h,w,c".to_owned()),
    }
}

fn window_stride(node: &Node) -> Result<usize, String> {
    if node.attr["padding"]["s"] != VALID || node.attr["data_format"]["s"] != NHWC {
        return Err("only padding VALID and format NHWC are known".to_owned());
    }
    match integer_list(&node.attr["strides"])[..] {
        [1, vertical, horizontal, 1] if vertical == horizontal && vertical > 0 => Ok(vertical as usize),
        ref other => Err(format!("strides {other:?} are not known")),
    }
}

/// `{"list": {"i": ["1", …]}}`.
fn integer_list(attribute: &Json) -> Vec<i64> {
    let list = attribute["list"]["i"].as_array();
    list.into_iter().flatten().filter_map(|item| item.as_str()?.parse().ok()).collect()
}

fn input(node: &Node, index: usize) -> Result<&str, String> {
    node.input.get(index).map(String::as_str).ok_or_else(|| format!("it has no input {index}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_reordered() {
        // One position, two inputs, three outputs: value = 10 * input + output.
        let kernel = Constant { shape: vec![1, 1, 2, 3], values: vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0] };
        assert_eq!(outputs_first(&kernel, 1, 2, 3), [0.0, 10.0, 1.0, 11.0, 2.0, 12.0]);
    }

    #[test]
    fn weights_must_be_used_up_exactly() {
        let groups: Vec<WeightGroup> = serde_json::from_str(
            r#"[{"weights": [{"name": "a", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16"}},
                             {"name": "b", "shape": [], "dtype": "int32"}]}]"#,
        )
        .unwrap();
        let bytes = [f16::from_f32(1.5).to_le_bytes().to_vec(), vec![0, 0], 7i32.to_le_bytes().to_vec()].concat();
        let constants = read_weights(&groups, &bytes).unwrap();
        assert_eq!(constants["a"].values, [1.5, 0.0]);
        assert_eq!(constants["b"].values, [7.0]);
        assert!(read_weights(&groups, &bytes[..6]).is_err());
        assert!(read_weights(&groups, &[bytes.as_slice(), &[0]].concat()).is_err());
    }
}
