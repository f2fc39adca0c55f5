// Elementary functions on f32 vectors. Included once per Highway target.
#if defined(FLEDGE_TENSOR_CPU_MATH_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FLEDGE_TENSOR_CPU_MATH_INL_H
#undef FLEDGE_TENSOR_CPU_MATH_INL_H
#else
#define FLEDGE_TENSOR_CPU_MATH_INL_H
#endif

#include <hwy/highway.h>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {

/// e^x within 2 units in the last place. Below -86.6 the result is 0, above 88.7 an infinity; a NaN stays a NaN.
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V exp(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToUnsigned<D> whole;
  // x = n ln 2 + r with |r| <= ln(2) / 2; ln 2 in two parts, the first with few enough bits that n times it is exact.
  // Beside 1.5 * 2^23 an f32 has no fraction left and its lowest bits are the whole number n.
  const V magic = hn::Set(d, 0x1.8p23f);
  const V shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), magic);
  const V n = hn::Sub(shifted, magic);
  const V r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x));
  // e^r = 1 + r + r^2 P(r), P with the least greatest relative error (3e-9).
  V p = hn::MulAdd(hn::Set(d, 1.3814467e-3f), r, hn::Set(d, 8.3687808e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1668393e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666520e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.9999994e-1f));
  p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), hn::Set(d, 1.0f));
  // 2 p 2^(n-1): 2^128 has no f32, 2^127 has. Where n is far out of range the product is replaced below.
  const auto exponent = hn::Add(hn::BitCast(whole, shifted), hn::Set(whole, 126));
  const V power = hn::BitCast(d, hn::ShiftLeft<23>(exponent));
  V y = hn::Mul(hn::Add(p, p), power);
  y = hn::IfThenElse(hn::Gt(x, hn::Set(d, 89.0f)), hn::Set(d, std::numeric_limits<float>::infinity()), y);
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, -86.6f)), hn::Zero(d), y);
}

/// The Gaussian at x: its density and the two halves of its mass, Phi(-|x|) being the smaller one.
template <class V>
struct Gaussian {
  V density;     ///< exp(-x^2 / 2) / sqrt(2 pi)
  V cumulative;  ///< Phi(x)
};

/// Phi(-z) exp(z^2 / 2) for z >= 0 is a smooth function that falls like 1 / z: t times a polynomial in
/// t = 1 / (1 + 0.22 z) of degree 8 gives it to a relative 6e-8 for all z where the mass is not 0 in f32 (the form is
/// that of Abramowitz and Stegun 7.1.26; the coefficients are a fit with the least greatest relative error).
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE Gaussian<V> gaussian(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const V z = hn::Abs(x);
  const V e = exp(d, hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5f)));
  const V t = hn::Div(hn::Set(d, 1.0f), hn::MulAdd(z, hn::Set(d, 0.22f), hn::Set(d, 1.0f)));
  V p = hn::MulAdd(hn::Set(d, -0.038564496f), t, hn::Set(d, 0.10433465f));
  p = hn::MulAdd(p, t, hn::Set(d, -0.021374254f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.045869298f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.086874798f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.0599202998f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.0880509540f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.0870789886f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.0878097415f));
  const V tail = hn::Mul(hn::Mul(p, t), e);
  const V cumulative = hn::IfThenElse(hn::Gt(x, hn::Zero(d)), hn::Sub(hn::Set(d, 1.0f), tail), tail);
  return {hn::Mul(e, hn::Set(d, 0.398942280f)), cumulative};
}

/// 1 / (1 + e^-x).
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V sigmoid(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const V one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, exp(d, hn::Neg(x))));
}

/// x Phi(x).
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V gelu_exact(D d, V x) {
  return hwy::HWY_NAMESPACE::Mul(x, gaussian(d, x).cumulative);
}

/// 2 u of the tanh form, u = sqrt(2 / pi) (x + 0.044715 x^3).
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V gelu_tanh_argument(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const V inner = hn::MulAdd(hn::Mul(x, x), hn::Set(d, 2 * 0.7978845608f * 0.044715f), hn::Set(d, 2 * 0.7978845608f));
  return hn::Mul(x, inner);
}

/// x (1 + tanh u) / 2 = x sigmoid(2 u).
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V gelu_tanh(D d, V x) {
  return hwy::HWY_NAMESPACE::Mul(x, sigmoid(d, gelu_tanh_argument(d, x)));
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
