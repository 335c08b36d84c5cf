// libtorch's own profiler, without Python: a trace for a viewer, and a table of what each operator took by itself.

#include "shim.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using pinbench::copy;
using pinbench::guard;
namespace profiler = torch::autograd::profiler;

namespace {

// A range around each training step. Between two of them lie evaluations and the hashing.
constexpr std::string_view STEP = "pinbench::step";

// Of the step under way; one training a process, so one of it is enough.
std::unique_ptr<at::RecordFunction> step;

// Of each step so far, whether it counts.
std::vector<bool> counted;

struct Stretch {
  uint64_t start, end;
};

// Of one operator, over the steps that count.
struct Cost {
  int64_t calls = 0, self_ns = 0, total_ns = 0;
};

using Events = std::vector<const profiler::KinetoEvent*>;

bool is_on_cpu(const profiler::KinetoEvent& event) { return event.deviceType() == c10::DeviceType::CPU; }

// The steps that count, from the first to the last.
std::vector<Stretch> counted_steps(const std::vector<profiler::KinetoEvent>& events) {
  std::vector<Stretch> all, found;
  for (auto& event : events)
    if (is_on_cpu(event) && event.name() == STEP) all.push_back({event.startNs(), event.endNs()});
  TORCH_CHECK(all.size() == counted.size(), "the profiler knows ", all.size(), " of ", counted.size(), " steps");
  std::sort(all.begin(), all.end(), [](const Stretch& a, const Stretch& b) { return a.start < b.start; });
  for (size_t i = 0; i < all.size(); i++)
    if (counted[i]) found.push_back(all[i]);
  return found;
}

bool is_within(const std::vector<Stretch>& steps, uint64_t ns) {
  auto later = [](uint64_t ns, const Stretch& stretch) { return ns < stretch.start; };
  auto after = std::upper_bound(steps.begin(), steps.end(), ns, later);
  return after != steps.begin() && ns < std::prev(after)->end;
}

// Adds the events of one thread, which lie within each other or apart. What an operator's callees take is theirs; an
// operator within itself adds to its total once.
void add_thread(Events& events, const std::vector<Stretch>& steps, std::map<std::string, Cost>& costs) {
  std::stable_sort(events.begin(), events.end(), [](auto* a, auto* b) {
    return a->startNs() != b->startNs() ? a->startNs() < b->startNs() : a->endNs() > b->endNs();
  });
  std::vector<std::pair<uint64_t, Cost*>> callers;  // each with its end
  for (auto* event : events) {
    if (!is_within(steps, event->startNs())) continue;
    while (!callers.empty() && callers.back().first <= event->startNs()) callers.pop_back();
    auto ns = static_cast<int64_t>(event->durationNs());
    Cost& cost = costs[event->name()];
    cost.calls++;
    cost.self_ns += ns;
    if (!callers.empty()) callers.back().second->self_ns -= ns;
    bool is_own_callee =
        std::any_of(callers.begin(), callers.end(), [&](auto& caller) { return caller.second == &cost; });
    if (!is_own_callee) cost.total_ns += ns;
    callers.emplace_back(event->endNs(), &cost);
  }
}

// A line an operator: name, calls, self and total nanoseconds, between tabs.
std::string table_of(const std::vector<profiler::KinetoEvent>& events) {
  auto steps = counted_steps(events);
  std::map<uint64_t, Events> threads;
  for (auto& event : events)
    if (is_on_cpu(event) && event.name() != STEP) threads[event.startThreadId()].push_back(&event);
  std::map<std::string, Cost> costs;
  for (auto& thread : threads) add_thread(thread.second, steps, costs);
  std::string text;
  for (auto& [name, cost] : costs)
    text += name + '\t' + std::to_string(cost.calls) + '\t' + std::to_string(cost.self_ns) + '\t' +
            std::to_string(cost.total_ns) + '\n';
  return text;
}

}  // namespace

extern "C" {

int pb_profiler_start() {
  return guard([&] {
    const std::set<profiler::ActivityType> activities{profiler::ActivityType::CPU};
    const profiler::ProfilerConfig config(profiler::ProfilerState::KINETO);
    counted.clear();
    profiler::prepareProfiler(config, activities);
    profiler::enableProfiler(config, activities);
  });
}

int pb_profiler_begin_step() {
  return guard([&] {
    step = std::make_unique<at::RecordFunction>(at::RecordScope::USER_SCOPE);
    if (step->isActive()) step->before(STEP);
  });
}

int pb_profiler_end_step(int counts) {
  return guard([&] {
    step.reset();
    counted.push_back(counts != 0);
  });
}

// Writes the trace to `path` and gives the table, each unless its pointer is null.
int pb_profiler_stop(const char* path, char** table) {
  return guard([&] {
    step.reset();
    auto result = profiler::disableProfiler();
    if (path) result->save(path);
    if (table) *table = copy(table_of(result->events()));
  });
}

}  // extern "C"
