//! The box of a card.

use edits::Card;

use super::layer::{Layer, Pixel, PixelRect};

/// A card without its texts: the background and, inside its edge, the border.
pub(super) fn background(card: &Card, room: PixelRect) -> Layer {
    let (left, top) = (card.area.x, card.area.y);
    let (right, bottom) = (left + card.area.width, top + card.area.height);
    let rect = PixelRect {
        left: left.floor() as i32,
        top: top.floor() as i32,
        right: right.ceil() as i32,
        bottom: bottom.ceil() as i32,
    };
    let mut layer = Layer::new(rect.intersection(&room));
    let border = card.border.clamp(0.0, card.area.width.min(card.area.height) / 2.0);
    let (inner_left, inner_top, inner_right, inner_bottom) =
        (left + border, top + border, right - border, bottom - border);
    let paint = pixel(card.background.color, card.background.opacity);
    layer.add(inner_left..inner_right, inner_top..inner_bottom, paint);
    let edge = pixel(card.border_color, 1.0);
    layer.add(left..right, top..inner_top, edge);
    layer.add(left..right, inner_bottom..bottom, edge);
    layer.add(left..inner_left, inner_top..inner_bottom, edge);
    layer.add(inner_right..right, inner_top..inner_bottom, edge);
    layer
}

fn pixel(colour: edits::Rgb, opacity: f64) -> Pixel {
    let opacity = opacity.clamp(0.0, 1.0) as f32;
    let part = |value: u8| f32::from(value) / 255.0 * opacity;
    [part(colour.r), part(colour.g), part(colour.b), opacity]
}
