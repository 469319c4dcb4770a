"""A function on the host whose calls are counted, for tests of callbacks."""


class Counted:
    """A host function that counts its calls."""

    def __init__(self, fun):
        self.fun = fun
        self.calls = 0
        self.__name__ = "counted"

    def __call__(self, *args):
        self.calls += 1
        return self.fun(*args)

    def taken(self):
        calls, self.calls = self.calls, 0
        return calls
