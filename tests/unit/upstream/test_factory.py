import subprocess
import sys

from microedge.upstream.factory import create
from microedge.upstream.settings import UpstreamSettings


def test_each_type_has_its_class():
    kinds = [type(create(UpstreamSettings(type=kind), None)).__name__ for kind in ("none", "file", "mqtt")]

    assert kinds == ["NoneType", "FileConnector", "MqttConnector"]


def test_building_a_connector_loads_neither_paho_nor_ssl():
    script = (
        "import sys\n"
        "from microedge.upstream.factory import create\n"
        "from microedge.upstream.settings import UpstreamSettings\n"
        "for kind in ('none', 'file', 'mqtt'): create(UpstreamSettings(type=kind), None)\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert not {"paho", "ssl", "asyncio", "pathlib", "urllib.request"} & set(loaded)
