#include "grad/graph.h"

#include <algorithm>

#include "tensor/elementwise.h"

namespace fledge::grad {

Graph::Graph(tensor::Arena& activations, tensor::Arena& encodings, tensor::DType activation_type, bool recording)
    : activations_(activations), encodings_(encodings), activation_type_(activation_type), recording_(recording) {}

Graph Graph::sibling(bool recording) const {
  Graph result(activations_, encodings_, activation_type_, recording);
  result.random_state_ = random_state_;
  result.adapter_runs_ = adapter_runs_;
  result.adapters_off_ = adapters_off_;
  return result;
}

base::Random Graph::next_random() {
  // 2^32 steps of 2^32 operations each: the stream of an operation is its own.
  return {random_state_.seed, (random_state_.step << 32) + random_operations_++};
}

void Graph::record(std::string_view name, std::vector<Parameter*> parameters, std::function<void()> backward) {
  if (!recording_) return;
  std::vector<Parameter*> single;
  for (Parameter* parameter : parameters) {
    if (parameter->parts().empty()) single.push_back(parameter);
    single.insert(single.end(), parameter->parts().begin(), parameter->parts().end());
  }
  for (Parameter* parameter : single) first_use_.try_emplace(parameter, tape_.size());
  tape_.push_back({name, std::move(single), std::move(backward)});
}

std::vector<Parameter*> Graph::recorded_parameters() const {
  std::vector<Parameter*> result;
  for (size_t index = 0; index < tape_.size(); ++index) {
    for (Parameter* parameter : tape_[index].parameters) {
      if (first_use_.at(parameter) == index && std::ranges::find(result, parameter) == result.end()) {
        result.push_back(parameter);
      }
    }
  }
  return result;
}

void Graph::backward(const Variable& loss) {
  tensor::Tensor seed = empty(loss.shape(), loss.dtype());
  tensor::fill(seed, 1.0);
  backward(loss, std::move(seed));
}

void Graph::backward(const Variable& from, tensor::Tensor seed, tensor::Tensor rounded) {
  from.add_gradient(std::move(seed), activations_, std::move(rounded));
  while (!tape_.empty()) {
    Record record = std::move(tape_.back());
    tape_.pop_back();
    record.backward();
    if (!parameter_ready_) continue;
    for (Parameter* parameter : record.parameters) {
      const auto found = first_use_.find(parameter);
      if (found == first_use_.end() || found->second != tape_.size()) continue;
      first_use_.erase(found);
      parameter_ready_(*parameter);
    }
  }
}

}  // namespace fledge::grad
