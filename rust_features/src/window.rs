//! Windows, computed in float64 and rounded once.

use std::f64::consts::TAU;

use crate::spec::Window;

/// The window of `length` points. Periodic: the first `length` points of the symmetric window of
/// `length + 1` (`scipy.signal.get_window(…, fftbins=True)`). One point is 1, as there.
pub fn window(shape: Window, length: usize, periodic: bool) -> Vec<f64> {
    if length == 1 {
        return vec![1.0];
    }
    let span = if periodic { length } else { length - 1 };
    (0..length).map(|n| at(shape, n as f64 / span as f64)).collect()
}

/// The window at `t`, which runs from 0 to 1.
fn at(shape: Window, t: f64) -> f64 {
    let cos = |k: f64| (TAU * k * t).cos();
    match shape {
        Window::Hann => 0.5 - 0.5 * cos(1.0),
        Window::Hamming => 0.54 - 0.46 * cos(1.0),
        Window::Blackman => 0.42 - 0.5 * cos(1.0) + 0.08 * cos(2.0),
        Window::BlackmanHarris => {
            0.35875 - 0.48829 * cos(1.0) + 0.14128 * cos(2.0) - 0.01168 * cos(3.0)
        }
        Window::Bartlett => 1.0 - (2.0 * t - 1.0).abs(),
        Window::Povey => (0.5 - 0.5 * cos(1.0)).powf(0.85),
        Window::Rectangular => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periodic_is_the_head_of_the_longer_symmetric_one() {
        for shape in [Window::Hann, Window::Blackman, Window::Bartlett, Window::Povey] {
            assert_eq!(window(shape, 12, true), window(shape, 13, false)[..12]);
        }
    }

    #[test]
    fn symmetric_is_symmetric_and_peaks_at_one() {
        for shape in [Window::Hann, Window::Hamming, Window::BlackmanHarris, Window::Povey] {
            let w = window(shape, 9, false);
            for i in 0..9 {
                assert!((w[i] - w[8 - i]).abs() < 1e-12);
            }
            assert!((w[4] - 1.0).abs() < 1e-9);
        }
        assert_eq!(window(Window::Hann, 1, false), [1.0]);
        assert_eq!(window(Window::Hann, 1, true), [1.0]);
    }
}
