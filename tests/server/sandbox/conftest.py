from tests.conftest_sandbox import sandbox as sandbox
