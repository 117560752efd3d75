#include "counters.h"

#include <cstdlib>
#include <fstream>
#include <mutex>
#include <set>
#include <sstream>

namespace standin {
namespace {

struct Counters {
  std::mutex mutex;
  StandinMluCounts counts{};
  std::set<std::string> fallbacks;

  std::string names() const {
    std::string all;
    for (const std::string& name : fallbacks) all += (all.empty() ? "" : " ") + name;
    return all;
  }

  ~Counters() {
    const char* report = std::getenv("STANDIN_MLU_REPORT");
    if (report == nullptr) return;
    std::ostringstream line;
    line << R"({"operators": )" << counts.operators << R"(, "fallbacks": ")" << names()
         << R"(", "to_device": )" << counts.to_device << R"(, "to_host": )" << counts.to_host
         << R"(, "fused_attention": )" << counts.fused_attention << R"(, "fused_steps": )"
         << counts.fused_steps << "}\n";
    std::ofstream(report, std::ios::app) << line.str() << std::flush;
  }
};

Counters& counters() {
  static Counters the_one;
  return the_one;
}

void count(uint64_t StandinMluCounts::*which) {
  Counters& all = counters();
  const std::lock_guard<std::mutex> lock(all.mutex);
  ++(all.counts.*which);
}

}  // namespace

void count_operator() { count(&StandinMluCounts::operators); }
void count_to_device() { count(&StandinMluCounts::to_device); }
void count_to_host() { count(&StandinMluCounts::to_host); }
void count_fused_attention() { count(&StandinMluCounts::fused_attention); }
void count_fused_step() { count(&StandinMluCounts::fused_steps); }

void count_fallback(const std::string& name) {
  count(&StandinMluCounts::fallbacks);
  const std::lock_guard<std::mutex> lock(counters().mutex);
  counters().fallbacks.insert(name);
}

}  // namespace standin

extern "C" {

void standin_mlu_counts(StandinMluCounts* counts) { *counts = standin::counters().counts; }

const char* standin_mlu_fallbacks() {
  static std::string names;
  names = standin::counters().names();
  return names.c_str();
}
}
