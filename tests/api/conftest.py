"""One farm for all tests of the API: real parts, and a past of every kind in its store."""
import pytest
from farm import Farm
from history import History


@pytest.fixture(scope="package")
def history():
    """The History of these tests; nothing of it may be left afterwards."""
    farm = Farm("api")
    try:
        made = History(farm)
    except BaseException:
        farm.stop()
        for name, text in farm.tails():
            print(f"--- {name}\n{text}")
        farm.remove()
        raise
    yield made
    said = farm.stop()
    farm.remove()
    assert not said, "left behind or ended badly:\n" + "\n".join(said)
