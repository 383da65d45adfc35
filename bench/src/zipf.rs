//! Zipf-distributed ranks: rank `k` of `1..=n` has a probability proportional to `1 / k^theta`.
//!
//! Rejection-inversion (W. Hörmann, G. Derflinger, "Rejection-inversion to generate variates from monotone
//! discrete distributions", ACM TOMACS 6(3), 1996): constant memory and an expected constant time per
//! sample for every `theta > 0`, where the table of the usual method would be as large as the key space.
//!
//! With `h(x) = x^-theta` and `H` its integral, a uniform point under the curve is drawn between
//! `H(1.5) - 1` and `H(n + 0.5)`, inverted through `H`, and rounded; it is rejected when it fell between
//! the curve and the bar of its rank, which happens for a few percent of the draws.

/// A sampler of ranks.
#[derive(Clone, Debug)]
pub(crate) struct Zipf {
    n: f64,
    theta: f64,
    low: f64,
    high: f64,
    /// Draws that close to their rank are accepted without computing the bar.
    shortcut: f64,
}

impl Zipf {
    /// Ranks `0..n`, hottest first. `n` must be positive and `theta` positive and finite.
    pub(crate) fn new(n: u64, theta: f64) -> Zipf {
        assert!(n > 0 && theta > 0.0 && theta.is_finite());
        let mut zipf = Zipf { n: n as f64, theta, low: 0.0, high: 0.0, shortcut: 0.0 };
        zipf.low = zipf.integral(1.5) - 1.0;
        zipf.high = zipf.integral(zipf.n + 0.5);
        zipf.shortcut = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    /// One rank, counted from 0.
    pub(crate) fn sample(&self, rng: &mut fastrand::Rng) -> u64 {
        loop {
            let u = self.high + rng.f64() * (self.low - self.high);
            let x = self.inverse(u);
            let k = x.round().clamp(1.0, self.n);
            if k - x <= self.shortcut || u >= self.integral(k + 0.5) - self.density(k) {
                return k as u64 - 1;
            }
        }
    }

    fn density(&self, x: f64) -> f64 {
        (-self.theta * x.ln()).exp()
    }

    /// `(x^(1-theta) - 1) / (1-theta)`, written so that `theta = 1` is its limit, the logarithm.
    fn integral(&self, x: f64) -> f64 {
        let ln = x.ln();
        let t = (1.0 - self.theta) * ln;
        let factor = if t.abs() > 1e-8 { t.exp_m1() / t } else { 1.0 + t / 2.0 };
        factor * ln
    }

    fn inverse(&self, y: f64) -> f64 {
        let t = ((1.0 - self.theta) * y).max(-1.0);
        let factor = if t.abs() > 1e-8 { t.ln_1p() / t } else { 1.0 - t / 2.0 };
        (factor * y).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every rank's frequency against its probability, within five standard deviations.
    fn frequencies_match(n: u64, theta: f64) {
        const DRAWS: u64 = 400_000;
        let zipf = Zipf::new(n, theta);
        let mut rng = fastrand::Rng::with_seed(7);
        let mut seen = vec![0u64; n as usize];
        for _ in 0..DRAWS {
            seen[zipf.sample(&mut rng) as usize] += 1;
        }
        let weight = |rank: usize| ((rank + 1) as f64).powf(-theta);
        let total: f64 = (0..n as usize).map(weight).sum();
        for (rank, &count) in seen.iter().enumerate() {
            let p = weight(rank) / total;
            let expected = p * DRAWS as f64;
            let sigma = (expected * (1.0 - p)).sqrt().max(1.0);
            let off = (count as f64 - expected).abs() / sigma;
            assert!(off < 5.0, "theta {theta}, rank {rank}: {count} draws, {expected:.1} expected");
        }
    }

    #[test]
    fn frequencies_match_theory_below_at_and_above_one() {
        for theta in [0.5, 0.99, 1.0, 1.5] {
            frequencies_match(50, theta);
        }
    }

    #[test]
    fn a_space_of_one_key_always_gives_it() {
        let zipf = Zipf::new(1, 0.99);
        let mut rng = fastrand::Rng::with_seed(1);
        assert!((0..1000).all(|_| zipf.sample(&mut rng) == 0));
    }

    #[test]
    fn a_large_space_stays_in_range_and_reaches_its_tail() {
        let n = 20_000_000;
        let zipf = Zipf::new(n, 0.8);
        let mut rng = fastrand::Rng::with_seed(3);
        let highest = (0..100_000).map(|_| zipf.sample(&mut rng)).max().unwrap();
        assert!(highest < n && highest > n / 2, "{highest}");
    }
}
