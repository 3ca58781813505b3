// Winograd's F(2x2, 3x3) and F(4x4, 3x3), Lavin and Gray, arXiv 1509.09308: 4 outputs take 16 multiplications, not 36,
// or 16 outputs 36, not 144.
//
// One line of a transform: x[i * from] -> y[i * to], for vectors of any length, or numbers. output_back and weight_back
// are the transposes of output and weight, which gradients go through.

#pragma once

struct Two {
    static constexpr int OUT = 2, IN = 4, POINTS = 16;
    template <class V> static inline void input(const V* x, int from, V* y, int to) {
        y[0] = x[0] - x[2 * from], y[to] = x[from] + x[2 * from];
        y[2 * to] = x[2 * from] - x[from], y[3 * to] = x[from] - x[3 * from];
    }
    template <class V> static inline void weight(const V* x, int from, V* y, int to) {
        V even = 0.5f * (x[0] + x[2 * from]), odd = 0.5f * x[from];
        y[0] = x[0], y[to] = even + odd, y[2 * to] = even - odd, y[3 * to] = x[2 * from];
    }
    template <class V> static inline void output(const V* x, int from, V* y, int to) {
        y[0] = x[0] + x[from] + x[2 * from], y[to] = x[from] - x[2 * from] - x[3 * from];
    }
    template <class V> static inline void output_back(const V* x, int from, V* y, int to) {
        y[0] = x[0], y[to] = x[0] + x[from], y[2 * to] = x[0] - x[from], y[3 * to] = -x[from];
    }
    template <class V> static inline void weight_back(const V* x, int from, V* y, int to) {
        V even = 0.5f * (x[from] + x[2 * from]);
        y[0] = x[0] + even, y[to] = 0.5f * (x[from] - x[2 * from]), y[2 * to] = even + x[3 * from];
    }
};

// At the points 0, R, -R, 2 R, -2 R and infinity, which round half as much as 0, 1, -1, 2, -2.
struct Four {
    static constexpr int OUT = 4, IN = 6, POINTS = 36;
    static constexpr float R = 0.70710678f;
    template <class V> static inline void input(const V* x, int from, V* y, int to) {
        V a = x[0], b = x[from], c = x[2 * from], d = x[3 * from], e = x[4 * from], f = x[5 * from];
        V near = e - 2.0f * c, far = e - 0.5f * c;
        V near_odd = R * d - (2 * R) * b, far_odd = (2 * R) * d - R * b;
        y[0] = a - 2.5f * c + e, y[to] = near + near_odd, y[2 * to] = near - near_odd;
        y[3 * to] = far + far_odd, y[4 * to] = far - far_odd, y[5 * to] = b - 2.5f * d + f;
    }
    template <class V> static inline void weight(const V* x, int from, V* y, int to) {
        V a = x[0], b = x[from], c = x[2 * from];
        V near = (-2.0f / 3) * a - (1.0f / 3) * c, near_odd = (-2.0f / 3 * R) * b;
        V far = (1.0f / 6) * a + (1.0f / 3) * c, far_odd = (R / 3) * b;
        y[0] = a, y[to] = near + near_odd, y[2 * to] = near - near_odd;
        y[3 * to] = far + far_odd, y[4 * to] = far - far_odd, y[5 * to] = c;
    }
    template <class V> static inline void output(const V* x, int from, V* y, int to) {
        V near = x[from] + x[2 * from], near_odd = x[from] - x[2 * from];
        V far = x[3 * from] + x[4 * from], far_odd = x[3 * from] - x[4 * from];
        y[0] = x[0] + near + far, y[to] = R * near_odd + (2 * R) * far_odd;
        y[2 * to] = 0.5f * near + 2.0f * far;
        y[3 * to] = (R / 2) * near_odd + (4 * R) * far_odd + x[5 * from];
    }
    template <class V> static inline void output_back(const V* x, int from, V* y, int to) {
        V a = x[0], b = x[from], c = x[2 * from], d = x[3 * from];
        V near = a + 0.5f * c, near_odd = R * b + (R / 2) * d;
        V far = a + 2.0f * c, far_odd = (2 * R) * b + (4 * R) * d;
        y[0] = a, y[to] = near + near_odd, y[2 * to] = near - near_odd;
        y[3 * to] = far + far_odd, y[4 * to] = far - far_odd, y[5 * to] = d;
    }
    template <class V> static inline void weight_back(const V* x, int from, V* y, int to) {
        V near = x[from] + x[2 * from], near_odd = x[from] - x[2 * from];
        V far = x[3 * from] + x[4 * from], far_odd = x[3 * from] - x[4 * from];
        y[0] = x[0] - (2.0f / 3) * near + (1.0f / 6) * far;
        y[to] = (R / 3) * far_odd - (2.0f / 3 * R) * near_odd;
        y[2 * to] = (1.0f / 3) * (far - near) + x[5 * from];
    }
};
