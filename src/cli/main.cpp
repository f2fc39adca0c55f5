#include "cli/application.h"

int main(int argument_count, char** arguments) {
  return fledge::cli::run(argument_count, arguments);
}
