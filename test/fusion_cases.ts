/**
 * @file Small models that meet fusion, index arithmetic and the templates in their odd corners. Each is the body of a
 * model; its inputs and parameters are drawn from [-2, 2), whole for i32.
 */

/** What is compiled, and ranges of inputs that are not [-2, 2). */
export interface FusionCase {
  readonly name: string;
  readonly body: string;
  readonly ranges?: Readonly<Record<string, readonly [number, number]>>;
}

const of = (name: string, body: string, ranges?: FusionCase["ranges"]): FusionCase => ({ name, body, ...(ranges ? { ranges } : {}) });
const long = (n: number): string => Array.from({ length: n }, (_, i) => `y = tanh(y * 0.9 + ${i % 7} / 8) + x`).join("\n");
const nine = Array.from({ length: 11 }, (_, i) => i);

/** Joins and views around contractions. */
const JOINS: readonly FusionCase[] = [
  of("concat of a matmul with other rows", `input x: [B, 5, 8] param w: [8, 12] ~ zeros param c: [1, 2, 12] ~ zeros
    output y = concat([expand(c, [B, 2, 12]), matmul(x, w), expand(c * 2, [B, 2, 12])], axis = 1) + 1`),
  of("concat of a matmul with other columns", `input x: [B, 5, 8] param w: [8, 12] ~ zeros input z: [B, 5, 3]
    output y = gelu(concat([z, matmul(x, w), z * 2], axis = 2))`),
  of("concat of two matmuls by columns", `input x: [B, 6, 8] param w: [8, 4] ~ zeros param v: [8, 7] ~ zeros
    output y = relu(concat([matmul(x, w), matmul(x, v)], axis = -1))`),
  of("concat over the batch", `input x: [B, 5] param w: [5, 5] ~ zeros param c: [2, 5] ~ zeros
    output y = concat([matmul(x, w), c], axis = 0)`),
  of("head split as an epilogue", `input x: [B, 7, 12] param w: [12, 24] ~ zeros param b: [24] ~ zeros
    output y = permute(reshape(matmul(x, w) + b, [B, 7, 2, 3, 4]), [2, 0, 3, 1, 4]) * 0.5`),
  of("head merge into a matmul", `input x: [B, 3, 7, 4] param w: [12, 9] ~ zeros
    output y = matmul(reshape(permute(x, [0, 2, 1, 3]), [B, 7, 12]), w)`),
  of("a matmul transposed behind an activation", `input x: [B, 5, 6] param w: [6, 7] ~ zeros
    output y = transpose(silu(matmul(x, w))) + 1`),
  of("slices of a matmul's result", `input x: [B, 5, 6] param w: [6, 8] ~ zeros y = matmul(x, w)
    output a = y[:, 1:, ::2] output b = y[:, 0] output c = y[:, :, 3:5] * y[:, :, 5:7]`),
  of("a matmul used twice", `input x: [B, 5, 6] param w: [6, 6] ~ zeros y = matmul(x, w) output a = y + matmul(y, w) output b = y`),
  of("a matmul of a computed operand", `input x: [B, 5, 6] param w: [6, 7] ~ zeros
    output y = matmul(gelu(x) + 1, w * w)`),
  of("a convolution that meets padding alone", `input x: [B, 2, 1, 1] param w: [3, 2, 1, 1] ~ zeros
    output y = conv2d(x, w, stride = 3, pad = 1) + 1`),
  of("a padded operand", `input x: [B, 5, 6] param w: [8, 7] ~ zeros
    output y = matmul(pad(x, [0, 1, 1], [0, 2, 1]), w)`),
  of("a residual and its norm", `input x: [B, 5, 8] param w: [8, 8] ~ zeros r = x + matmul(x, w)
    output y = standardize(r, axis = [-1], eps = 1e-6) output z = r`),
];

const MATMULS: readonly FusionCase[] = [
  of("batch dimensions broadcast", `input x: [B, 1, 5, 6] param w: [3, 6, 7] ~ zeros output y = matmul(x, w)`),
  of("a matmul over the batch", `input x: [B, 6] input z: [B, 5] output y = matmul(transpose(x), z)`),
  of("the batch inside", `input x: [5, B, 6] param w: [6, 7] ~ zeros output y = permute(matmul(x, w), [2, 0, 1])`),
  of("the batch last", `input x: [4, 6, B] param w: [5, 6] ~ zeros output y = matmul(w, x)`),
  of("matrix by vector", `input x: [B, 5, 6] param w: [6, 1] ~ zeros output y = reshape(matmul(x, w), [B, 5])`),
  of("outer product", `input x: [B, 5, 1] input z: [B, 1, 7] output y = matmul(x, z)`),
  of("depths of four and a vector axis", `input x: [B, 8, 16] param w: [12, 16] ~ zeros
    output y = matmul(x, transpose(w)) output z = matmul(transpose(x), x)`),
  of("dot of rows", `input x: [B, 9] input z: [B, 9] output y = sum(x * z, axis = [-1])`),
];

const ATTENTIONS: readonly FusionCase[] = [
  of("one query", `input q: [B, 2, 1, 8] input k: [B, 2, 9, 8] input v: [B, 2, 9, 8]
    output y = matmul(softmax(matmul(q, transpose(k)) * 0.35, axis = -1), v)`),
  of("odd widths", `input q: [B, 3, 7, 5] input k: [B, 3, 6, 5] input v: [B, 3, 6, 3]
    output y = matmul(softmax(matmul(q, transpose(k)) * 0.4, axis = -1), v)`),
  of("one key", `input q: [B, 2, 5, 4] input k: [B, 2, 1, 4] input v: [B, 2, 1, 4]
    output y = matmul(softmax(matmul(q, transpose(k)), axis = -1), v)`),
  of("packed heads, merged", `input x: [B, 5, 24] q, k, v = unbind(permute(reshape(x, [B, 5, 3, 2, 4]), [2, 0, 3, 1, 4]), axis = 0)
    y = matmul(softmax(matmul(q, transpose(k)) / 2, axis = -1), v) output z = reshape(permute(y, [0, 2, 1, 3]), [B, 5, 8])`),
  of("a bias on the scores", `input q: [B, 2, 5, 4] input k: [B, 2, 5, 4] input v: [B, 2, 5, 4] param bias: [2, 5, 5] ~ zeros
    output y = matmul(softmax(matmul(q, transpose(k)) + bias, axis = -1), v)`),
  of("large scores", `input q: [B, 1, 6, 4] input k: [B, 1, 6, 4] input v: [B, 1, 6, 4]
    output y = matmul(softmax(matmul(q, transpose(k)) * 30, axis = -1), v)`),
  of("an axis that no operand has", `input x: [B, 5, 4] param w: [4, 3] ~ zeros e = expand(reshape(x, [1, B, 5, 4]), [2, B, 5, 4])
    output y = matmul(e, w) output z = matmul(softmax(matmul(e, transpose(e)), axis = -1), e)`),
  of("the batch in the values alone", `param q: [5, 4] ~ zeros param k: [6, 4] ~ zeros input v: [B, 6, 3]
    s = expand(reshape(softmax(matmul(q, transpose(k)), axis = -1), [1, 5, 6]), [B, 5, 6]) output y = matmul(s, v)`),
  of("shared keys", `input q: [B, 4, 5, 8] input k: [B, 1, 5, 8] input v: [B, 1, 5, 8]
    output y = matmul(softmax(matmul(q, transpose(k)), axis = -1), v)`),
];

const ROWS: readonly FusionCase[] = [
  of("softmax with prologue and epilogue", `input x: [B, 5, 9] param w: [9] ~ zeros
    output y = softmax(gelu(x) * w, axis = -1) * 3 + x output z = log_softmax(x / 2, axis = 1)`),
  of("softmax over a middle axis, permuted", `input x: [B, 4, 6, 5] output y = permute(softmax(x, axis = 2), [0, 3, 1, 2])`),
  of("layer norm of a layer norm", `input x: [B, 5, 9] param w: [9] ~ zeros y = standardize(x, axis = [-1], eps = 1e-5) * w + 1
    output z = standardize(y, axis = [-1], eps = 1e-5)`),
  of("layer norm over two axes", `input x: [B, 4, 5, 6] output y = standardize(x, axis = [1, 3], eps = 1e-5)`),
  of("channels-first norm", `input x: [B, 6, 4, 5] param w: [6] ~ zeros
    output y = permute(standardize(permute(x, [0, 2, 3, 1]), axis = [-1], eps = 1e-6) * w, [0, 3, 1, 2])`),
  of("several axes at once", `input x: [B, 4, 5, 6] output a = sum(x, axis = [1, 3]) output b = max(x, axis = [2, 3], keep = true)
    output c = mean(x, axis = [0, 2]) output d = variance(x, axis = [1, 2])`),
  of("everything to a number", `input x: [B, 4, 5] output a = sum(x) output b = mean(x * x) output c = max(x) - min(x)`),
  of("a reduction of a reduction", `input x: [B, 6, 7] output y = max(sum(x, axis = [2]), axis = [1]) output z = sum(x - mean(x, axis = [2], keep = true), axis = [1])`),
  of("a reduction over the batch", `input x: [B, 4, 6] output y = sum(x, axis = [0]) output z = x - mean(x, axis = [0], keep = true)
    output v = variance(x, axis = [0, 2])`),
  of("long rows", `input x: [B, 700] output y = softmax(x, axis = -1) output z = standardize(x, axis = [-1], eps = 1e-6) output m = max(x, axis = [-1])`),
  of("middling rows", `input x: [B, 3, 96] output y = softmax(x, axis = -1) output z = logsumexp(x, axis = [-1])`),
  of("a row made longer", `input x: [B, 6] s = sum(x, axis = [1], keep = true) output y = concat([x / s, s, expand(s, [B, 2])], axis = 1)`),
  of("a fold of guarded elements", `input x: [B, 5, 6] output y = sum(pad(x, [0, 1, 2], [0, 1, 0]) + 1, axis = [1])`),
  of("arg-max and its gather", `input x: [B, 5, 6] i = argmax(x, axis = -1) output y = i output z = one_hot(i, 6) * x`),
  of("cumsum of a softmax", `input x: [B, 9] output y = cumsum(softmax(x, axis = -1), axis = 1)`),
];

const LEAVES: readonly FusionCase[] = [
  of("computed indices", `input x: [B, 7, 4] param table: [11, 4] ~ zeros
    i = argmax(x, axis = -1) * 2 output y = gather(table, i, axis = 0) + gather(table, (arange(7) * 3) % 11, axis = 0)`),
  of("one-hot, where and bools", `input i: i32[B, 5] input x: [B, 5, 7]
    h = one_hot(i, 7) output y = where(h > 0.5, x * 2, -x) output b = x > 0 output c = (x > 0) == (h > 0.5)`, { i: [0, 7] }),
  of("whole numbers", `input i: i32[B, 6] output a = i * 3 + 1 output b = i % 4 output c = float(i) / 2 output d = i == 3`, { i: [-9, 9] }),
  of("one node twice, and leaves as they are", `input x: [B, 3] input i: i32[B, 2] param w: [4, 2] ~ zeros y = x + 1
    output a = y output b = y output c = x output d = w output e = i output f = transpose(w)`),
  of("numbers without axes", `param s: [] ~ zeros input x: [B, 3] output a = s output b = s * s + 2 output c = x * s output d = full([3], 0.5)`),
  of("more buffers than a kernel binds", `${nine.map((i) => `input x${i}: [B, 5]`).join(" ")}
    output y = ${nine.map((i) => `x${i} * ${i + 1}`).join(" + ")}
    output z = concat([${nine.map((i) => `x${i}`).join(", ")}], axis = 1)`),
  of("a matmul with many operands behind it", `input x: [B, 5, 4] param w: [4, 4] ~ zeros ${nine.map((i) => `param p${i}: [4] ~ zeros`).join(" ")}
    output y = matmul(x, w)${nine.map((i) => ` * p${i}`).join("")}`),
  of("a row with many operands", `input x: [B, 5] ${nine.map((i) => `input x${i}: [B, 5]`).join(" ")}
    output y = softmax(${nine.map((i) => `x${i}`).join(" + ")}, axis = -1) * x`),
  of("a very long chain", `input x: [B, 5] y = x ${long(120)} output z = y`),
  of("broadcast both ways", `input x: [B, 1, 5] param w: [4, 1] ~ zeros param u: [1] ~ zeros
    output y = x * w + u output z = expand(x, [B, 3, 5]) - w[:3]`),
  of("the batch as a number", `input x: [B, 3] output y = x / B output z = arange(B) output a = arange(2 * B + 1)`),
  of("what parameters alone decide", `param w: [6, 5] ~ zeros param v: [6] ~ zeros input x: [B, 6]
    scaled = w * rsqrt(reshape(v * v, [6, 1]) + 1) output y = matmul(x, scaled) output z = sum(scaled, axis = [0])`),
  of("sin and cos far from zero", `input x: [B, 33] output y = sin(x) output z = cos(x * 40)`, { x: [-200, 200] }),
  of("powers", `input x: [B, 33] output a = x^2 output b = x^3 output c = abs(x)^0.5 output d = x^-1 output e = 2^x`, { x: [-30, 30] }),
  of("large and small", `input x: [B, 65] output a = softmax(x, axis = -1) output b = sigmoid(x) output c = tanh(x) output d = gelu(x)
    output e = softplus(x) output f = logsumexp(x, axis = [1])`, { x: [-90, 90] }),
  of("the batch permuted inside", `input x: [B, 4, 6] y = permute(x, [1, 0, 2]) output a = y * 2
    output b = reshape(y, [4, B * 6]) output c = sum(y, axis = [2]) output d = flip(y, axis = 1)`),
  of("the batch merged and split", `input x: [B, 4, 6] param w: [6, 6] ~ zeros y = reshape(matmul(reshape(x, [B * 4, 6]), w), [B, 4, 6])
    output a = y + x output b = reshape(x, [4 * B, 6])[1:]`),
];

const CONVOLUTIONS: readonly FusionCase[] = [
  of("convolution, norm, activation, pool", `input x: [B, 3, 9, 8] param w: [6, 3, 3, 3] ~ zeros param s: [6] ~ zeros
    y = relu(conv2d(x, w, stride = 2, pad = 1) * reshape(s, [1, 6, 1, 1]) + 1) output a = max_pool2d(y, kernel = 2, stride = 1)
    output b = mean(y, axis = [2, 3])`),
  of("depthwise and dilated", `input x: [B, 4, 7, 7] param w: [4, 1, 3, 3] ~ zeros param v: [6, 2, 2, 3] ~ zeros
    output y = conv2d(x, w, pad = 1, groups = 4) + x output z = conv2d(x, v, groups = 2, dilation = 2, pad = [2, 1])`),
  of("one-by-one convolution of a concat", `input x: [B, 3, 5, 5] input z: [B, 2, 5, 5] param w: [7, 5, 1, 1] ~ zeros
    output y = conv2d(concat([x, z], axis = 1), w)`),
  of("patches as tokens", `input x: [B, 3, 8, 8] param w: [10, 3, 4, 4] ~ zeros param b: [10] ~ zeros param c: [1, 1, 10] ~ zeros param p: [1, 5, 10] ~ zeros
    t = permute(reshape(conv2d(x, w, stride = 4) + reshape(b, [1, 10, 1, 1]), [B, 10, 4]), [0, 2, 1])
    output y = concat([expand(c, [B, 1, 10]), t], axis = 1) + p`),
  of("average pool inside a sum", `input x: [B, 3, 6, 6] output y = avg_pool2d(x * x, kernel = 3, stride = 3) - 1`),
];

/** Results that are stored beside others, and values of parameters alone that several kernels read. */
const STORED_BESIDE: readonly FusionCase[] = [
  of("a norm, and a concat of it with its input", `input x: [B, 64, 8] param w: [8] ~ zeros
    norm = standardize(x, axis = [-1], eps = 1e-6) * w output a = concat([norm, x], axis = 2) output b = norm`),
  of("a value, and the same padded", `input x: [B, 5, 6] y = gelu(x) + 1 output a = pad(y, [0, 0, 0], [0, 0, 2]) output b = y
    output c = pad(y, [0, 1, 0], [0, 0, 0])`),
  of("a value, and its first half", `input x: [B, 8] y = tanh(x) * 2 output a = y[:, :4] + 1 output b = y`),
  of("a convolution, and one of it with its input", `input x: [B, 3, 6, 6] param w: [4, 3, 3, 3] ~ zeros param v: [4, 7, 3, 3] ~ zeros
    y = conv2d(x, w, pad = 1) output a = conv2d(concat([y, x], axis = 1), v, pad = 1) + y output b = y`),
  of("a product with a factor of another factor order", `input x: [B, 4, 6] param p: [6, 4] ~ zeros f = sigmoid(p) * 2
    output a = x * reshape(f, [4, 6]) output b = f output c = reshape(f, [2, 12]) + 1`),
  of("one of two columns, and the same padded", `input x: [B, 2] y = x[:, :1:2] p = pad(y, [0, 1], [0, 1])
    output a = standardize(p, axis = [-1], eps = 0.1) output b = y`),
  of("a sum over the batch behind the batch", `input w: [B] input z: [4, B] output o = concat([w, sum(z, axis = [1])], axis = 0)`),
  of("a product over the batch between two of the batch", `input x: [4, B] y = matmul(x, transpose(x)) * 0.5
    output o = concat([x, y, x], axis = 1)`),
  of("a square, and the same turned", `input x: [B, 5, 5] y = exp(tanh(x)) output a = y + transpose(y) output b = y`),
  of("batch norm behind a bias", `input x: [B, 3, 6, 6] param w: [4, 3, 3, 3] ~ zeros param b: [4] ~ zeros param g: [4] ~ zeros param h: [4] ~ zeros
    buffer mu: [4] ~ zeros buffer var: [4] ~ ones scale = g * rsqrt(var * var + 0.1) shift = h - mu * scale
    output y = (conv2d(x, w, pad = 1) + reshape(b, [1, 4, 1, 1])) * reshape(scale, [1, 4, 1, 1]) + reshape(shift, [1, 4, 1, 1])`),
  of("depthwise, batch norm, squeeze and excite", `input x: [B, 4, 5, 5] param w: [4, 1, 3, 3] ~ zeros param g: [4] ~ zeros
    buffer var: [4] ~ ones param s: [4, 4] ~ zeros scale = g * rsqrt(var * var + 0.1)
    y = relu(conv2d(x, w, pad = 1, groups = 4) * reshape(scale, [1, 4, 1, 1]))
    output z = y * reshape(sigmoid(matmul(mean(y, axis = [2, 3]), s)), [B, 4, 1, 1])`),
  of("dense blocks", `input x: [B, 3, 5, 5] param w: [2, 3, 3, 3] ~ zeros param v: [2, 5, 3, 3] ~ zeros param g: [2] ~ zeros
    buffer m: [2] ~ zeros s = reshape(g * rsqrt(m * m + 0.1), [1, 2, 1, 1])
    a = concat([x, relu(conv2d(x, w, pad = 1) * s)], axis = 1) b = concat([a, relu(conv2d(a, v, pad = 1) * s)], axis = 1)
    output y = mean(b, axis = [2, 3]) output z = a`),
  of("a table for two users", `input i: i32[B, 3] param t: [7, 4] ~ zeros u = t * rsqrt(sum(t * t, axis = [1], keep = true) + 1)
    output a = gather(u, i, axis = 0) output b = sum(u, axis = [0]) output c = gather(u * 2, i, axis = 0)`, { i: [0, 7] }),
  of("attention beside a view of its query", `input x: [B, 8] q = reshape(x, [B, 4, 2])
    output a = q output b = q + matmul(softmax(matmul(q, transpose(q)) * 0.3, axis = -1), q)`),
  of("products of gathered rows, and rows of a product gathered", `input i: i32[B, 6] param t: [6, 5] ~ zeros param w: [5, 5] ~ zeros
    r = gather(t, i, axis = 0) output a = matmul(r, transpose(r)) output b = gather(matmul(t, w), i, axis = 0) + 1`, { i: [0, 6] }),
  of("empty slices", `input x: [B, 5, 4] param w: [4, 3] ~ zeros output a = concat([gelu(x[:, :0]), x], axis = 1)
    output b = sum(x[:, :0], axis = [1]) output c = matmul(x[:, :, :0], w[:0]) + 1 output d = pad(x[:, 2:2], [0, 1, 0], [0, 1, 0], value = 3)`),
];

export const FUSION_CASES: readonly FusionCase[] = [...STORED_BESIDE, ...JOINS, ...MATMULS, ...ATTENTIONS, ...ROWS, ...LEAVES, ...CONVOLUTIONS];

/** The case as a file. */
export const textOf = ({ body }: FusionCase): string => `model case() {\n${body}\n}\n`;
