//! ncnn to ONNX, for the super-resolution networks that Real-ESRGAN publishes in ncnn's format.
//!
//! The `.param` file is text: a magic number, counts, then one layer a line. The `.bin` file holds the weights of the
//! layers in that order. Layer and key numbers: <https://github.com/Tencent/ncnn/wiki/operation-param-weight-table>,
//! the storage tags: <https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure>.

use super::onnx::{Attribute, GraphBuilder};
use half::f16;
use std::collections::HashMap;

const MAGIC: &str = "7767517";
/// Tag of weights stored as fp16.
const TAG_FP16: u32 = 0x0130_6B47;
const TAG_FP32: u32 = 0;

/// One line of the `.param` file.
struct Layer<'a> {
    kind: &'a str,
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    keys: HashMap<i32, &'a str>,
}

/// Converts a network whose input blob is `data` and output blob `output`, scaling by `scale`.
pub(super) fn to_onnx(name: &str, param: &str, weights: &[u8], scale: u32) -> Result<Vec<u8>, String> {
    let mut converter = Converter {
        graph: GraphBuilder::new(name),
        weights: WeightReader { rest: weights },
        alias: HashMap::new(),
        channels: HashMap::new(),
    };
    converter.graph.input("data", &["n", "3", "h", "w"]);
    let (height, width) = (format!("{scale}*h"), format!("{scale}*w"));
    converter.graph.output("output", &["n", "3", &height, &width]);
    for layer in parse(param)? {
        converter.layer(&layer).map_err(|what| format!("layer {} {}: {what}", layer.kind, layer.outputs.join(" ")))?;
    }
    match converter.weights.rest.len() {
        0 => Ok(converter.graph.finish()),
        left => Err(format!("{left} bytes of weights are left over")),
    }
}

fn parse(param: &str) -> Result<Vec<Layer<'_>>, String> {
    let mut lines = param.lines();
    if lines.next().map(str::trim) != Some(MAGIC) {
        return Err("the .param file does not begin with ncnn's magic number".to_owned());
    }
    let counts = lines.next().unwrap_or_default();
    let layers: Vec<_> = lines.filter(|line| !line.trim().is_empty()).map(parse_layer).collect::<Result<_, _>>()?;
    let promised = counts.split_whitespace().next().and_then(|count| count.parse().ok());
    if promised != Some(layers.len()) {
        return Err(format!("the .param file promises `{counts}` and has {} layers", layers.len()));
    }
    Ok(layers)
}

fn parse_layer(line: &str) -> Result<Layer<'_>, String> {
    let broken = || format!("cannot read the line `{line}`");
    let mut words = line.split_whitespace();
    let kind = words.next().ok_or_else(broken)?;
    words.next().ok_or_else(broken)?; // The layer's own name: outputs name nodes here.
    let mut count = || words.next().and_then(|word| word.parse::<usize>().ok()).ok_or_else(broken);
    let (inputs, outputs) = (count()?, count()?);
    let rest: Vec<&str> = words.collect();
    if rest.len() < inputs + outputs {
        return Err(broken());
    }
    let (blobs, pairs) = rest.split_at(inputs + outputs);
    let mut keys = HashMap::new();
    for pair in pairs {
        let (key, value) = pair.split_once('=').ok_or_else(broken)?;
        keys.insert(key.parse().map_err(|_| broken())?, value);
    }
    Ok(Layer { kind, inputs: blobs[..inputs].to_vec(), outputs: blobs[inputs..].to_vec(), keys })
}

impl Layer<'_> {
    fn int(&self, key: i32, default: i64) -> Result<i64, String> {
        self.keys
            .get(&key)
            .map_or(Ok(default), |value| value.parse().map_err(|_| format!("key {key} is `{value}`, not an integer")))
    }

    fn float(&self, key: i32, default: f32) -> Result<f32, String> {
        self.keys
            .get(&key)
            .map_or(Ok(default), |value| value.parse().map_err(|_| format!("key {key} is `{value}`, not a number")))
    }

    /// An array key, written `-23300-key=count,values…`.
    fn floats(&self, key: i32) -> Result<Vec<f32>, String> {
        let text = self.keys.get(&(-23300 - key)).copied().unwrap_or("0");
        let numbers: Result<Vec<f32>, _> = text.split(',').skip(1).map(str::parse).collect();
        numbers.map_err(|_| format!("array key {key} is `{text}`"))
    }

    /// Refuses a layer whose `key` is not the one value the conversion supports.
    fn only(&self, key: i32, default: i64, known: i64) -> Result<(), String> {
        match self.int(key, default)? {
            value if value == known => Ok(()),
            value => Err(format!("key {key} is {value}; only {known} is known")),
        }
    }
}

struct Converter<'a> {
    graph: GraphBuilder,
    weights: WeightReader<'a>,
    /// `Split` gives one blob several names.
    alias: HashMap<String, String>,
    channels: HashMap<String, usize>,
}

impl Converter<'_> {
    fn layer(&mut self, layer: &Layer<'_>) -> Result<(), String> {
        let inputs: Vec<String> = layer.inputs.iter().map(|&blob| self.resolve(blob)).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let output = *layer.outputs.first().ok_or("it has no output")?;
        let first = inputs.first().copied();
        let input = || first.ok_or("it has no input");
        let channels = match layer.kind {
            "Input" => 3,
            "Split" => {
                let source = input()?;
                for &copy in &layer.outputs {
                    self.alias.insert(copy.to_owned(), source.to_owned());
                }
                return Ok(());
            }
            "Convolution" => self.convolution(layer, input()?, output)?,
            "PReLU" => self.prelu(layer, input()?, output)?,
            "PixelShuffle" => self.pixel_shuffle(layer, input()?, output)?,
            "Interp" => self.interp(layer, input()?, output)?,
            "Concat" => self.concat(layer, &inputs, output)?,
            "BinaryOp" => {
                layer.only(0, 0, 0)?;
                self.graph.node("Add", &inputs, &[output], &[]);
                self.channels_of(input()?)?
            }
            "Eltwise" => self.weighted_sum(layer, &inputs, output)?,
            other => return Err(format!("layers of type {other} are not known")),
        };
        self.channels.insert(output.to_owned(), channels);
        Ok(())
    }

    fn resolve(&self, blob: &str) -> String {
        self.alias.get(blob).map_or_else(|| blob.to_owned(), String::clone)
    }

    fn channels_of(&self, blob: &str) -> Result<usize, String> {
        self.channels.get(blob).copied().ok_or_else(|| format!("blob {blob} comes from nowhere"))
    }

    fn convolution(&mut self, layer: &Layer<'_>, input: &str, output: &str) -> Result<usize, String> {
        layer.only(2, 1, 1)?;
        layer.only(5, 0, 1)?;
        let (outputs, kernel) = (layer.int(0, 0)? as usize, layer.int(1, 0)? as usize);
        let (stride, pad) = (layer.int(3, 1)?, layer.int(4, 0)?);
        let inputs = self.channels_of(input)?;
        let dims = [outputs, inputs, kernel, kernel];
        let count = dims.iter().product();
        if layer.int(6, 0)? as usize != count {
            return Err(format!("key 6 should be {count}"));
        }
        let (weight, bias) = (format!("{output}.weight"), format!("{output}.bias"));
        self.graph.floats(&weight, &dims, &self.weights.tagged(count)?);
        self.graph.floats(&bias, &[outputs], &self.weights.plain(outputs)?);

        let leaky = match layer.int(9, 0)? {
            0 => None,
            2 => Some(*layer.floats(10)?.first().ok_or("its LeakyReLU has no slope")?),
            other => return Err(format!("activation {other} is not known")),
        };
        let before = format!("{output}.conv");
        let convolved = if leaky.is_some() { &before } else { output };
        let attributes = [
            ("kernel_shape", Attribute::Ints(&[kernel as i64; 2])),
            ("strides", Attribute::Ints(&[stride; 2])),
            ("pads", Attribute::Ints(&[pad; 4])),
        ];
        self.graph.node("Conv", &[input, &weight, &bias], &[convolved], &attributes);
        if let Some(slope) = leaky {
            self.graph.node("LeakyRelu", &[convolved], &[output], &[("alpha", Attribute::Float(slope))]);
        }
        Ok(outputs)
    }

    fn prelu(&mut self, layer: &Layer<'_>, input: &str, output: &str) -> Result<usize, String> {
        let channels = self.channels_of(input)?;
        layer.only(0, 0, channels as i64)?;
        let slope = format!("{output}.slope");
        self.graph.floats(&slope, &[channels, 1, 1], &self.weights.plain(channels)?);
        self.graph.node("PRelu", &[input, &slope], &[output], &[]);
        Ok(channels)
    }

    /// ncnn's order is that of PyTorch: ONNX's depth-to-space in CRD mode.
    fn pixel_shuffle(&mut self, layer: &Layer<'_>, input: &str, output: &str) -> Result<usize, String> {
        layer.only(1, 0, 0)?;
        let factor = layer.int(0, 1)?;
        let attributes = [("blocksize", Attribute::Int(factor)), ("mode", Attribute::Text("CRD"))];
        self.graph.node("DepthToSpace", &[input], &[output], &attributes);
        Ok(self.channels_of(input)? / (factor * factor) as usize)
    }

    fn interp(&mut self, layer: &Layer<'_>, input: &str, output: &str) -> Result<usize, String> {
        layer.only(0, 0, 1)?;
        let (vertical, horizontal) = (layer.float(1, 1.0)?, layer.float(2, 1.0)?);
        if vertical != horizontal {
            return Err(format!("its scales {vertical} and {horizontal} differ"));
        }
        self.graph.resize(input, output, "nearest", vertical);
        self.channels_of(input)
    }

    fn concat(&mut self, layer: &Layer<'_>, inputs: &[&str], output: &str) -> Result<usize, String> {
        layer.only(0, 0, 0)?;
        self.graph.node("Concat", inputs, &[output], &[("axis", Attribute::Int(1))]);
        inputs.iter().map(|blob| self.channels_of(blob)).sum()
    }

    /// The sum of the inputs, each times its coefficient.
    fn weighted_sum(&mut self, layer: &Layer<'_>, inputs: &[&str], output: &str) -> Result<usize, String> {
        layer.only(0, 0, 1)?;
        let coefficients = layer.floats(1)?;
        let [left, right] = inputs else {
            return Err("only sums of two are known".to_owned());
        };
        let mut terms = Vec::new();
        for (index, blob) in [left, right].into_iter().enumerate() {
            let coefficient = coefficients.get(index).copied().unwrap_or(1.0);
            if coefficient == 1.0 {
                terms.push((*blob).to_owned());
                continue;
            }
            let (factor, scaled) = (format!("{output}.factor{index}"), format!("{output}.scaled{index}"));
            self.graph.floats(&factor, &[1], &[coefficient]);
            self.graph.node("Mul", &[blob, &factor], &[&scaled], &[]);
            terms.push(scaled);
        }
        self.graph.node("Add", &[&terms[0], &terms[1]], &[output], &[]);
        self.channels_of(left)
    }
}

/// Takes weights off the front of the `.bin` file.
struct WeightReader<'a> {
    rest: &'a [u8],
}

impl WeightReader<'_> {
    fn take(&mut self, bytes: usize) -> Result<&[u8], String> {
        let (front, rest) = self.rest.split_at_checked(bytes).ok_or("the weights end early")?;
        self.rest = rest;
        Ok(front)
    }

    /// `count` raw fp32 values.
    fn plain(&mut self, count: usize) -> Result<Vec<f32>, String> {
        let bytes = self.take(4 * count)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect())
    }

    /// A storage tag, then `count` values in that storage, padded to 4 bytes.
    fn tagged(&mut self, count: usize) -> Result<Vec<f32>, String> {
        let tag = self.take(4)?;
        match u32::from_le_bytes([tag[0], tag[1], tag[2], tag[3]]) {
            TAG_FP32 => self.plain(count),
            TAG_FP16 => {
                let bytes = self.take((2 * count).next_multiple_of(4))?;
                let halves = bytes[..2 * count].as_chunks::<2>().0;
                Ok(halves.iter().map(|&word| f16::from_le_bytes(word).to_f32()).collect())
            }
            other => Err(format!("weights are stored with the unknown tag {other:#010x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAM: &str = "7767517\n3 3\n\
        Input in 0 1 data\n\
        Convolution c 1 1 data mid 0=1 1=1 5=1 6=3\n\
        PReLU p 1 1 mid output 0=1\n";

    fn weights() -> Vec<u8> {
        let halves = [1.0, -2.0, 0.5].map(|value| f16::from_f32(value).to_le_bytes()).concat();
        [TAG_FP16.to_le_bytes().to_vec(), halves, vec![0; 2], [0.25f32, 0.1].map(f32::to_le_bytes).concat()].concat()
    }

    #[test]
    fn a_small_network_converts_the_same_way_twice() {
        let once = to_onnx("small", PARAM, &weights(), 1).unwrap();
        assert_eq!(once, to_onnx("small", PARAM, &weights(), 1).unwrap());
        let text = String::from_utf8_lossy(&once);
        for part in ["Conv", "PRelu", "mid.weight", "output.slope"] {
            assert!(text.contains(part), "{part} is missing");
        }
    }

    #[test]
    fn weights_must_be_used_up_exactly() {
        let whole = weights();
        let short = to_onnx("small", PARAM, &whole[..whole.len() - 1], 1).unwrap_err();
        assert!(short.contains("PReLU output: the weights end early"), "{short}");
        let long = to_onnx("small", PARAM, &[whole.as_slice(), &[0; 4]].concat(), 1).unwrap_err();
        assert!(long.contains("4 bytes of weights are left over"), "{long}");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (from, to, expected) in [
            ("7767517", "7767516", "magic"),
            ("3 3", "4 3", "promises"),
            ("PReLU p", "Softmax p", "Softmax"),
            ("5=1 6=3", "5=1 6=4", "key 6 should be 3"),
            ("5=1 6=3", "5=1 6=3 9=4", "activation 4"),
        ] {
            let error = to_onnx("small", &PARAM.replace(from, to), &weights(), 1).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
