//! What needs more than one frame: the clamp below the clip's maximum, slopes over time, and
//! normalisation. A second pass over the finished clip.

use crate::spec::{DeltaFit, Normalize};

/// x → max(x, floor) · scale + offset.
#[inline(always)]
pub fn clamp_and_scale(values: &mut [f32], floor: f32, scale: f32, offset: f32) {
    for x in values {
        *x = (if *x > floor { *x } else { floor }) * scale + offset;
    }
}

/// Appends the slopes of order `order` (1 or 2) of the first `n` columns, or of those of the order before,
/// as the next `n` columns of each row.
pub fn append_deltas(
    rows: &mut [f32],
    row_width: usize,
    n: usize,
    order: usize,
    width: usize,
    fit: DeltaFit,
) {
    match fit {
        DeltaFit::Line => append_slope(rows, row_width, (order - 1) * n, n, width),
        DeltaFit::Polynomial => append_derivative(rows, row_width, order, n, width),
    }
}

/// The derivative number `order` of the least-squares polynomial of that degree through `width` frames:
/// scipy's `savgol_filter(deriv=order, polyorder=order, mode="interp")`, which is librosa's `delta`. It is
/// constant over the window, and so near the edges that of the first and the last whole window. `rows`
/// has at least `width` rows.
fn append_derivative(rows: &mut [f32], row_width: usize, order: usize, n: usize, width: usize) {
    let (n_frames, reach) = (rows.len() / row_width, width / 2);
    if n_frames == 0 {
        return;
    }
    let place = |i: usize| i as f64 - reach as f64;
    let mean = if order == 2 {
        (0..width).map(|i| place(i).powi(2)).sum::<f64>() / width as f64
    } else {
        0.0
    };
    // A polynomial of each degree that is orthogonal to all lower ones, over whole frames.
    let basis: Vec<f64> = (0..width).map(|i| place(i).powi(order as i32) - mean).collect();
    let norm = basis.iter().map(|b| b * b).sum::<f64>() / order as f64; // order! is 1 or 2
    for t in 0..n_frames {
        let first = t.clamp(reach, n_frames - 1 - reach) - reach;
        for column in 0..n {
            let value = |i: usize| f64::from(rows[(first + i) * row_width + column]);
            let sum: f64 = basis.iter().enumerate().map(|(i, b)| b * value(i)).sum();
            rows[t * row_width + order * n + column] = (sum / norm) as f32;
        }
    }
}

/// Appends the slope of the columns `from..from + n` as the columns `from + n..from + 2n` of each
/// row: the least-squares line through `width` frames,
/// Σ i · (x\[t + i\] − x\[t − i\]) / (2 Σ i²), edges repeated. Equals python_speech_features `delta` and
/// torchaudio `compute_deltas`.
fn append_slope(rows: &mut [f32], row_width: usize, from: usize, n: usize, width: usize) {
    let n_frames = rows.len() / row_width;
    let reach = width / 2;
    let norm: f64 = (1..=reach).map(|i| 2.0 * (i * i) as f64).sum();
    for t in 0..n_frames {
        for column in from..from + n {
            let at = |frame: usize| f64::from(rows[frame * row_width + column]);
            let slope: f64 = (1..=reach)
                .map(|i| i as f64 * (at((t + i).min(n_frames - 1)) - at(t.saturating_sub(i))))
                .sum();
            rows[t * row_width + column + n] = (slope / norm) as f32;
        }
    }
}

/// Standard deviations below this count as this, so that a constant feature becomes zero.
const LEAST_DEVIATION: f64 = 1e-6;

/// Subtracts each column's mean and, if asked, divides by its standard deviation (of the
/// population), in float64.
pub fn normalize(rows: &mut [f32], width: usize, how: Normalize) {
    let n = (rows.len() / width) as f64;
    if how == Normalize::None || rows.is_empty() {
        return;
    }
    let mut mean = vec![0.0_f64; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(m, &x)| *m += f64::from(x));
    }
    // A sum of equal float32 numbers is exact, so a constant column has exactly its own mean.
    mean.iter_mut().for_each(|m| *m /= n);
    let mut deviation = vec![1.0_f64; width];
    if how == Normalize::MeanVar {
        deviation.fill(0.0);
        for row in rows.chunks_exact(width) {
            for ((d, m), &x) in deviation.iter_mut().zip(&mean).zip(row) {
                *d += (f64::from(x) - m).powi(2) / n;
            }
        }
        deviation.iter_mut().for_each(|d| *d = d.sqrt().max(LEAST_DEVIATION));
    }
    for row in rows.chunks_exact_mut(width) {
        for ((x, m), d) in row.iter_mut().zip(&mean).zip(&deviation) {
            *x = ((f64::from(*x) - m) / d) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slope_of_a_ramp_is_its_step() {
        let mut rows: Vec<f32> = (0..20).flat_map(|t| [3.0 * t as f32, 0.0]).collect();
        append_deltas(&mut rows, 2, 1, 1, 5, DeltaFit::Line);
        for t in 2..18 {
            assert!((rows[2 * t + 1] - 3.0).abs() < 1e-6);
        }
        // At the start: (1 · (3 − 0) + 2 · (6 − 0)) / 10.
        assert!((rows[1] - 1.5).abs() < 1e-6);
    }

    #[test]
    fn a_parabola_has_one_second_derivative_up_to_its_edges() {
        let mut rows: Vec<f32> =
            (0..20).flat_map(|t| [1.5 * (t * t) as f32 - t as f32, 0.0, 0.0]).collect();
        append_deltas(&mut rows, 3, 1, 1, 5, DeltaFit::Polynomial);
        append_deltas(&mut rows, 3, 1, 2, 5, DeltaFit::Polynomial);
        for t in 0..20 {
            let centre = t.clamp(2, 17) as f32;
            assert!((rows[3 * t + 1] - (3.0 * centre - 1.0)).abs() < 1e-4);
            assert!((rows[3 * t + 2] - 3.0).abs() < 1e-5);
        }
    }

    #[test]
    fn normalised_columns_have_mean_zero_and_deviation_one() {
        let mut rows: Vec<f32> = (0..50).flat_map(|t| [t as f32, 7.0]).collect();
        normalize(&mut rows, 2, Normalize::MeanVar);
        let column: Vec<f32> = rows.iter().step_by(2).copied().collect();
        let mean = column.iter().sum::<f32>() / 50.0;
        let var = column.iter().map(|x| x * x).sum::<f32>() / 50.0;
        assert!(mean.abs() < 1e-6 && (var - 1.0).abs() < 1e-5);
        assert!(rows.iter().skip(1).step_by(2).all(|&x| x == 0.0));
    }
}
