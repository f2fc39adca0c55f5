#include "cli/doctor.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <curl/curl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <oneapi/dnnl/dnnl.h>
#include <pcre2.h>
#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "base/json.h"
#include "base/parallel.h"
#include "base/terminal.h"
#include "cli/common.h"

namespace fledge::cli {
namespace {

using base::format_bytes;
using tensor::InstructionSet;

std::vector<std::pair<std::string, std::string>> library_versions() {
  const dnnl_version_t* dnnl = dnnl_version();
  char pcre2[64] = "";
  pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
  uint32_t jit = 0;
  pcre2_config(PCRE2_CONFIG_JIT, &jit);
  return {
      {"oneDNN", fmt::format("{}.{}.{}", dnnl->major, dnnl->minor, dnnl->patch)},
      {"MPI", FLEDGE_HAVE_MPI ? "built in" : "not built in"},
      {"PCRE2", fmt::format("{}{}", pcre2, jit ? ", with its compiler" : "")},
      {"libcurl", curl_version_info(CURLVERSION_NOW)->version},
      {"zlib", zlibVersion()},
  };
}

std::vector<std::string> instruction_sets(const tensor::CpuFeatures& features) {
  std::vector<std::string> names;
  const auto add = [&](bool has, const char* name) {
    if (has) names.emplace_back(name);
  };
  add(features.avx2, "AVX2");
  add(features.avx512, "AVX-512");
  add(features.avx512_vnni, "AVX512_VNNI");
  add(features.avx512_bf16, "AVX512_BF16");
  add(features.avx512_fp16, "AVX512_FP16");
  add(features.amx_bf16, "AMX_BF16");
  add(features.amx_int8, "AMX_INT8");
  return names;
}

std::string instruction_set_finding(const Diagnosis& diagnosis) {
  const tensor::CpuFeatures& features = diagnosis.features;
  if (features.amx_bf16 && !features.amx_permitted)
    return "The processor has AMX, but the kernel does not let this process use it (Linux 5.16 or later grants it; "
           "some "
           "containers and virtual machines do not): bf16 products run many times slower than they could.";
  switch (diagnosis.instruction_set) {
    case InstructionSet::amx:
      return "AMX multiplies bf16 matrices several times faster than f32: train with precision = \"auto\" or \"bf16\".";
    case InstructionSet::avx512_bf16:
      return diagnosis.native_bf16 ? "AVX512_BF16 multiplies bf16 about twice as fast as f32 on this processor: "
                                     "precision = \"auto\" takes "
                                     "bf16."
                                   : "This processor's AVX512_BF16 is slower than its f32 arithmetic: precision = "
                                     "\"auto\" takes f32; bf16 "
                                     "works and gives the same results as elsewhere.";
    case InstructionSet::avx512:
      return "AVX-512 without bf16 products: precision = \"auto\" takes f32; bf16 works and saves memory, not time.";
    case InstructionSet::avx2:
      return "AVX2: arithmetic runs at up to half the speed of AVX-512; precision = \"auto\" takes f32 to train. "
             "Text is made in bf16, whose weights take half the time to read.";
    case InstructionSet::baseline:
      break;
  }
  return "Neither AVX2 nor AVX-512: everything works, several times slower than on a processor with them.";
}

}  // namespace

std::vector<std::string> Diagnosis::findings() const {
  std::vector<std::string> result{instruction_set_finding(*this)};
  if (const char* cap = std::getenv("FLEDGE_INSTRUCTION_SET"))
    result.push_back(fmt::format(
        "FLEDGE_INSTRUCTION_SET={} holds fledge back from faster instruction sets; unset it for speed.", cap));
  if (machine.huge_pages == "never")
    result.push_back(
        "Transparent huge pages are off: memory-bound steps lose some percent. As root: echo madvise > "
        "/sys/kernel/mm/transparent_hugepage/enabled");
  if (machine.cpu_limit && *machine.cpu_limit < machine.logical_cores)
    result.push_back(
        fmt::format("The control group grants {:.3g} of {} cores' time: fledge starts {} threads, because more "
                    "would only wait for each other.",
                    *machine.cpu_limit, machine.logical_cores, usable_cores(machine)));
  if (threads > usable_cores(machine))
    result.push_back(
        fmt::format("{} threads share {} cores and wait for each other; leave out --threads and "
                    "OMP_NUM_THREADS, or lower them.",
                    threads, usable_cores(machine)));
  if (machine.numa_nodes > 1)
    result.push_back(
        fmt::format("{} memory nodes: one process per node is faster than one for all: mpirun -n {} "
                    "--map-by numa --bind-to numa fledge train RECIPE.toml",
                    machine.numa_nodes, machine.numa_nodes));
  if (machine.memory_limit)
    result.push_back(
        fmt::format("The control group limits memory to {}; a run that needs more is killed. `fledge train "
                    "--dry-run` says what a run needs.",
                    format_bytes(static_cast<double>(*machine.memory_limit))));
  return result;
}

base::OrderedJson Diagnosis::json() const {
  base::OrderedJson libraries;
  for (const auto& [name, version] : library_versions()) libraries[name] = version;
  const auto or_null = [](const auto& value) { return value ? base::OrderedJson(*value) : base::OrderedJson(nullptr); };
  return {
      {"version", FLEDGE_VERSION},
      {"processor",
       {{"vendor", features.vendor},
        {"model", features.model},
        {"instruction_sets", instruction_sets(features)},
        {"instruction_set", std::string(tensor::name_of(instruction_set))},
        {"amx_permitted", features.amx_permitted},
        {"native_bf16", native_bf16},
        {"l2_bytes", machine.l2_bytes},
        {"l3_bytes", machine.l3_bytes}}},
      {"cores",
       {{"logical", machine.logical_cores},
        {"physical", machine.physical_cores},
        {"limit", or_null(machine.cpu_limit)},
        {"threads", threads},
        {"memory_nodes", machine.numa_nodes}}},
      {"memory",
       {{"bytes", machine.memory_bytes},
        {"available_bytes", machine.available_bytes},
        {"limit_bytes", or_null(machine.memory_limit)},
        {"huge_pages", machine.huge_pages},
        {"reserved_huge_pages", machine.reserved_huge_pages}}},
      {"libraries", libraries},
      {"findings", findings()},
  };
}

std::string Diagnosis::text() const {
  const base::Terminal terminal = base::describe_terminal(1);
  const size_t width = static_cast<size_t>(std::min(terminal.width, 100));
  std::string result;
  const auto row = [&](std::string_view name, const std::string& value) {
    result += base::styled(fmt::format("{:<18}", name), base::Style::bold, terminal) +
              base::wrapped(base::printable(value), width, 18) + "\n";
  };
  row("fledge", FLEDGE_VERSION);
  row("processor", features.model.empty() ? features.vendor : features.model);
  row("instruction sets",
      fmt::format("{} (in use: {})", fmt::join(instruction_sets(features), " "), tensor::name_of(instruction_set)));
  row("AMX", !features.amx_bf16       ? "not on this processor"
             : features.amx_permitted ? "permitted"
                                      : "refused by the kernel");
  row("precision = auto", native_bf16 ? "bf16" : "f32");
  std::string cores = fmt::format("{} logical", machine.logical_cores);
  if (machine.physical_cores > 0) cores += fmt::format(", {} physical", machine.physical_cores);
  if (machine.cpu_limit) cores += fmt::format(", limited to {:.3g}", *machine.cpu_limit);
  row("cores", fmt::format("{}; {} threads", cores, threads));
  if (machine.l2_bytes > 0)
    row("caches", fmt::format("L2 {} per core, L3 {}", format_bytes(static_cast<double>(machine.l2_bytes)),
                              format_bytes(static_cast<double>(machine.l3_bytes))));
  std::string memory = fmt::format("{}, {} available", format_bytes(static_cast<double>(machine.memory_bytes)),
                                   format_bytes(static_cast<double>(machine.available_bytes)));
  if (machine.memory_limit)
    memory += fmt::format(", limited to {}", format_bytes(static_cast<double>(*machine.memory_limit)));
  row("memory", memory);
  row("huge pages", machine.huge_pages.empty() ? "not known" : machine.huge_pages);
  std::vector<std::string> libraries;
  for (const auto& [name, version] : library_versions()) libraries.push_back(name + " " + version);
  row("libraries", fmt::format("{}", fmt::join(libraries, "; ")));
  result += "\nWhat this means for speed:\n";
  for (const std::string& finding : findings()) result += "  - " + base::wrapped(finding, width, 4) + "\n";
  return result;
}

void run_doctor(const DoctorOptions& options) {
  Diagnosis diagnosis;
  diagnosis.machine = inspect_machine();
  diagnosis.features = tensor::cpu_features();
  diagnosis.instruction_set = tensor::instruction_set();
  diagnosis.native_bf16 = tensor::native_bf16();
  diagnosis.threads = base::thread_count();
  print(options.json ? diagnosis.json().dump(2) + "\n" : diagnosis.text());
}

void add_doctor_command(Verb app, Context& context) {
  auto options = std::make_shared<DoctorOptions>();
  Verb verb = add_verb(app, context, "doctor", "Shows what this machine offers and what that means for speed.",
                       "fledge doctor\nfledge doctor --json");
  verb.group("Help");
  add_json_option(verb, options->json, "The same as one JSON object");
  verb.callback([options, &context] { context.run = [options] { run_doctor(*options); }; });
}

}  // namespace fledge::cli
