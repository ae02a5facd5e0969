"""Packaging of Halfdoor: the distribution and the command are `halfdoor`; the packages are the four folders."""

from setuptools import find_packages, setup

setup(
    name="halfdoor",
    version="0.1.0",
    description="A federated Matrix homeserver with a door to the street",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["homeserver*", "federation*", "bridges*", "config*"]),
    include_package_data=True,
    package_data={
        "homeserver.storage": ["migrations/*.sql"],
        "bridges.webchat": ["widget/*"],
        "config": ["*.yaml", "deploy/*"],
    },
    install_requires=[
        "aiosqlite>=0.22",
        "argon2-cffi>=25.1",
        "asyncpg>=0.30",
        "autobahn>=26.10",
        "canonicaljson>=2.0",
        "idna>=3.7",
        "msgspec>=0.20",
        "prometheus-client>=0.22",
        "pynacl>=1.5",
        "pyopenssl>=25",
        "pyyaml>=6.0",
        "service-identity>=24",
        "signedjson>=1.1.4",
        "treq>=26.7",
        "twisted>=26.10",
        "unpaddedbase64>=2.1",
        "uvloop>=0.21",
    ],
    extras_require={
        "dev": [
            "hypothesis>=6.150",
            "import-linter>=2.1",
            "jsonschema>=4.26",
            "mypy>=1.18",
            "pytest>=9",
            "pytest-asyncio>=1.2",
            "pytest-timeout>=2.4",
            "pytest-xdist>=3.8",
            "referencing>=0.36",
            "ruff>=0.14",
            "types-jsonschema",
            "types-PyYAML",
        ],
    },
    entry_points={"console_scripts": ["halfdoor = homeserver.__main__:main"]},
)
