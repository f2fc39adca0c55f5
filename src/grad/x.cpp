namespace fledge::grad {}
