"""What several tests share: fakes that are tested themselves, and real peers such as a broker on a free port."""
