"""Operations on keys: rotate, rewrap, re-encrypt, test, report."""
