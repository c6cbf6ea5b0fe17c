// rainpost::DCNv3 for ONNX Runtime on the CPU: softmax, sampling and weighted mean in one pass, channels last.
//
//   value  (batch, height, width, channels)         float32
//   offset (batch, height, width, groups * 9 * 2)   float32, per point (y, x) in cells, points row by row
//   logits (batch, height, width, groups * 9)       float32, points row by row
//   result (batch, height, width, channels)         float32
//
// The sum is that of training/networks/dcnv3.py with stride and dilation one: samples outside the field, and at
// offsets that are not finite, count as zero. AVX2 where the processor has it, decided when the library is
// loaded; plain C++ elsewhere. Rows are shared among the threads of the session.
//
// ONNX Runtime's wheels bring no headers. What is declared here is the part of its C interface that is used, by
// place in its table: the table only ever grows (version 17 is that of ONNX Runtime 1.17, the first with
// KernelContext_ParallelFor), and a runtime that does not offer version 17 refuses in GetApi.

#include <cmath>
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#define WITH_AVX2 1
#endif

namespace {

constexpr int64_t points = 9;
constexpr uint32_t version = 17;

// ---- the sampling ---------------------------------------------------------------------------------------------

struct Corners {
  const float* from[4 * points];
  float weight[4 * points];
  int count = 0;
};

struct Field {
  const float* value;
  const float* offset;
  const float* logits;
  float* result;
  int64_t height, width, channels, groups;
};

// Corners of the nine points of one group at one cell, with their weights; those outside are left out.
void find(const Field& field, const float* image, int64_t y, int64_t x, int64_t group, const float* offset,
          const float* logits, Corners& found) {
  const int64_t first = group * (field.channels / field.groups);
  const float height = static_cast<float>(field.height), width = static_cast<float>(field.width);
  float largest = logits[0], sum = 0, share[points];
  for (int64_t k = 1; k < points; ++k) largest = logits[k] > largest ? logits[k] : largest;
  for (int64_t k = 0; k < points; ++k) sum += share[k] = std::exp(logits[k] - largest);
  found.count = 0;
  for (int64_t k = 0; k < points; ++k) {
    const float down = static_cast<float>(y + k / 3 - 1) + offset[2 * k];
    const float along = static_cast<float>(x + k % 3 - 1) + offset[2 * k + 1];
    // Written so that NaN is outside.
    if (!(down > -1 && down < height && along > -1 && along < width)) continue;
    const float top = std::floor(down), left = std::floor(along);
    const int64_t row = static_cast<int64_t>(top), column = static_cast<int64_t>(left);
    const float below = down - top, right = along - left, here = share[k] / sum;
    for (int64_t corner = 0; corner < 4; ++corner) {
      const int64_t r = row + corner / 2, c = column + corner % 2;
      if (r < 0 || r >= field.height || c < 0 || c >= field.width) continue;
      found.from[found.count] = image + (r * field.width + c) * field.channels + first;
      found.weight[found.count++] = here * (corner / 2 ? below : 1 - below) * (corner % 2 ? right : 1 - right);
    }
  }
}

void add(const Corners& corners, float* result, int64_t begin, int64_t end) {
  for (int64_t channel = begin; channel < end; ++channel) {
    float total = 0;
    for (int i = 0; i < corners.count; ++i) total += corners.weight[i] * corners.from[i][channel];
    result[channel] = total;
  }
}

void mean(const Corners& corners, float* result, int64_t channels) { add(corners, result, 0, channels); }

#ifdef WITH_AVX2
__attribute__((target("avx2,fma"))) void mean_avx2(const Corners& corners, float* result, int64_t channels) {
  int64_t channel = 0;
  for (; channel + 16 <= channels; channel += 16) {
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
    for (int i = 0; i < corners.count; ++i) {
      const __m256 weight = _mm256_set1_ps(corners.weight[i]);
      low = _mm256_fmadd_ps(weight, _mm256_loadu_ps(corners.from[i] + channel), low);
      high = _mm256_fmadd_ps(weight, _mm256_loadu_ps(corners.from[i] + channel + 8), high);
    }
    _mm256_storeu_ps(result + channel, low);
    _mm256_storeu_ps(result + channel + 8, high);
  }
  for (; channel + 8 <= channels; channel += 8) {
    __m256 total = _mm256_setzero_ps();
    for (int i = 0; i < corners.count; ++i)
      total = _mm256_fmadd_ps(_mm256_set1_ps(corners.weight[i]), _mm256_loadu_ps(corners.from[i] + channel), total);
    _mm256_storeu_ps(result + channel, total);
  }
  add(corners, result, channel, channels);
}
#endif

bool has_avx2() {
#ifdef WITH_AVX2
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

using Mean = void (*)(const Corners&, float*, int64_t);

Mean fastest(bool vectors) {
#ifdef WITH_AVX2
  if (vectors && has_avx2()) return mean_avx2;
#endif
  (void)vectors;
  return mean;
}

// One row of cells of one sample; rows are counted through the batch.
void sample_row(const Field& field, int64_t row, Mean mean_of) {
  const int64_t per_group = field.channels / field.groups, y = row % field.height;
  const float* image = field.value + row / field.height * field.height * field.width * field.channels;
  Corners corners;
  for (int64_t x = 0; x < field.width; ++x) {
    const int64_t cell = row * field.width + x;
    for (int64_t group = 0; group < field.groups; ++group) {
      const int64_t at = (cell * field.groups + group) * points;
      find(field, image, y, x, group, field.offset + 2 * at, field.logits + at, corners);
      mean_of(corners, field.result + cell * field.channels + group * per_group, per_group);
    }
  }
}

// ---- ONNX Runtime's C interface, as far as it is used ---------------------------------------------------------

using Status = void*;

enum Place : size_t {
  create_status = 0,
  create_domain = 26,
  add_operator = 27,
  add_domain = 28,
  tensor_data = 51,
  dimensions_count = 61,
  dimensions = 62,
  type_and_shape = 65,
  attribute_int64 = 86,
  context_input = 90,
  context_output = 91,
  release_type_and_shape = 99,
  parallel_for = 274,
};

struct Base {
  const void* const* (*table)(uint32_t version);
  const char* (*version_string)();
};

template <typename Function>
Function function(const void* const* table, Place place) {
  return reinterpret_cast<Function>(const_cast<void*>(table[place]));
}

struct Kernel {
  const void* const* table;
  int64_t groups;
  Mean mean_of;
};

Status failure(const void* const* table, const char* message) {
  return function<Status (*)(int, const char*)>(table, create_status)(2, message);  // ORT_INVALID_ARGUMENT
}

Status shape_of(const void* const* table, const void* tensor, int64_t (&shape)[4]) {
  void* information = nullptr;
  if (Status bad = function<Status (*)(const void*, void**)>(table, type_and_shape)(tensor, &information)) return bad;
  size_t count = 0;
  Status bad = function<Status (*)(const void*, size_t*)>(table, dimensions_count)(information, &count);
  if (!bad && count != 4) bad = failure(table, "rainpost::DCNv3: tensors must have four dimensions");
  if (!bad) bad = function<Status (*)(const void*, int64_t*, size_t)>(table, dimensions)(information, shape, 4);
  function<void (*)(void*)>(table, release_type_and_shape)(information);
  return bad;
}

struct Work {
  Field field;
  Mean mean_of;
};

void do_row(void* work, size_t row) {
  const Work& mine = *static_cast<const Work*>(work);
  sample_row(mine.field, static_cast<int64_t>(row), mine.mean_of);
}

Status compute(void* kernel, void* context) {
  const Kernel& mine = *static_cast<const Kernel*>(kernel);
  const auto table = mine.table;
  const auto data = function<Status (*)(void*, void**)>(table, tensor_data);
  int64_t shapes[3][4];
  void* tensors[3];
  for (size_t i = 0; i < 3; ++i) {
    const void* tensor = nullptr;
    if (Status bad = function<Status (*)(const void*, size_t, const void**)>(table, context_input)(context, i, &tensor))
      return bad;
    if (Status bad = shape_of(table, tensor, shapes[i])) return bad;
    if (Status bad = data(const_cast<void*>(tensor), &tensors[i])) return bad;
  }
  const int64_t expected[3] = {shapes[0][3], mine.groups * points * 2, mine.groups * points};
  for (size_t i = 0; i < 3; ++i)
    for (size_t axis = 0; axis < 4; ++axis)
      if (shapes[i][axis] != (axis < 3 ? shapes[0][axis] : expected[i]))
        return failure(table, "rainpost::DCNv3: value, offset and logits do not fit together");
  if (mine.groups < 1 || expected[0] % mine.groups)
    return failure(table, "rainpost::DCNv3: the groups do not divide the channels");
  void* output = nullptr;
  void* result = nullptr;
  if (Status bad = function<Status (*)(void*, size_t, const int64_t*, size_t, void**)>(table, context_output)(
          context, 0, shapes[0], 4, &output))
    return bad;
  if (Status bad = data(output, &result)) return bad;
  Work work{{static_cast<const float*>(tensors[0]), static_cast<const float*>(tensors[1]),
             static_cast<const float*>(tensors[2]), static_cast<float*>(result), shapes[0][1], shapes[0][2],
             shapes[0][3], mine.groups},
            mine.mean_of};
  const size_t rows = static_cast<size_t>(shapes[0][0] * shapes[0][1]);
  return function<Status (*)(const void*, void (*)(void*, size_t), size_t, size_t, void*)>(table, parallel_for)(
      context, do_row, rows, 0, &work);
}

constexpr int float32 = 1, required = 0, memory_default = 0;

// As OrtCustomOp of version 17: a table of functions that is handed to the runtime.
struct Operator {
  uint32_t version;
  void* (*create)(const Operator*, const void*, const void*);
  const char* (*name)(const Operator*);
  const char* (*provider)(const Operator*);
  int (*input_type)(const Operator*, size_t);
  size_t (*inputs)(const Operator*);
  int (*output_type)(const Operator*, size_t);
  size_t (*outputs)(const Operator*);
  void (*compute_first)(void*, void*);
  void (*destroy)(void*);
  int (*input_kind)(const Operator*, size_t);
  int (*output_kind)(const Operator*, size_t);
  int (*input_memory)(const Operator*, size_t);
  int (*least_inputs)(const Operator*);
  int (*same_inputs)(const Operator*);
  int (*least_outputs)(const Operator*);
  int (*same_outputs)(const Operator*);
  Status (*create_second)(const Operator*, const void* const*, const void*, void**);
  Status (*compute_second)(void*, void*);
  Status (*infer_shape)(const Operator*, void*);
  int (*first_version)(const Operator*);
  int (*last_version)(const Operator*);
};

Status create(const Operator*, const void* const* table, const void* information, void** kernel) {
  int64_t groups = 0;
  if (Status bad = function<Status (*)(const void*, const char*, int64_t*)>(table, attribute_int64)(
          information, "groups", &groups))
    return bad;
  *kernel = new Kernel{table, groups, fastest(true)};
  return nullptr;
}

const Operator dcnv3 = {
    version,
    nullptr,
    [](const Operator*) { return "DCNv3"; },
    [](const Operator*) { return static_cast<const char*>(nullptr); },
    [](const Operator*, size_t) { return float32; },
    [](const Operator*) { return size_t{3}; },
    [](const Operator*, size_t) { return float32; },
    [](const Operator*) { return size_t{1}; },
    nullptr,
    [](void* kernel) { delete static_cast<Kernel*>(kernel); },
    [](const Operator*, size_t) { return required; },
    [](const Operator*, size_t) { return required; },
    [](const Operator*, size_t) { return memory_default; },
    [](const Operator*) { return 1; },
    [](const Operator*) { return 1; },
    [](const Operator*) { return 1; },
    [](const Operator*) { return 1; },
    create,
    compute,
    nullptr,
    [](const Operator*) { return 1; },
    [](const Operator*) { return 1; },
};

}  // namespace

extern "C" {

__attribute__((visibility("default"))) Status RegisterCustomOps(void* options, const Base* base) {
  const void* const* table = base->table(version);
  if (!table) return nullptr;  // the session then does not know the operator, and says so
  static void* domain = nullptr;
  if (!domain) {
    if (Status bad = function<Status (*)(const char*, void**)>(table, create_domain)("rainpost", &domain)) return bad;
    if (Status bad = function<Status (*)(void*, const Operator*)>(table, add_operator)(domain, &dcnv3)) return bad;
  }
  return function<Status (*)(void*, void*)>(table, add_domain)(options, domain);
}

// The same without a runtime, for tests: one thread, with or without vectors. Returns whether it used them.
__attribute__((visibility("default"))) int rainpost_dcnv3(const float* value, const float* offset, const float* logits,
                                                          float* result, int64_t batch, int64_t height, int64_t width,
                                                          int64_t channels, int64_t groups, int vectors) {
  const Field field{value, offset, logits, result, height, width, channels, groups};
  const Mean mean_of = fastest(vectors != 0);
  for (int64_t row = 0; row < batch * height; ++row) sample_row(field, row, mean_of);
  return mean_of != mean;
}
}
