"""Which sections of a report are evidence for which controls of four frameworks.

A control is named by its number and in words of our own. A section is evidence that an auditor can examine,
never proof that the control is fulfilled. A control without sections has no evidence in Keeper: it is
listed to show that the coverage is incomplete.

Numbers and meanings were compared in November 2026 with what of each framework can be had in public, which
is not all of each: compare a control with your own copy before you rely on it.
"""

from dataclasses import dataclass
from typing import Final

SOC2: Final = "SOC 2"
ISO: Final = "ISO 27001:2022"
PCI: Final = "PCI DSS 4.0.1"
ASVS: Final = "ASVS 5.0"


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control of a framework, and the keys of the sections that an auditor looks at for it."""

    framework: str
    number: str
    about: str
    sections: tuple[str, ...] = ()


def _control(framework: str, number: str, about: str, *sections: str) -> Control:
    return Control(framework=framework, number=number, about=about, sections=sections)


CONTROLS: Final = (
    _control(SOC2, "CC6.1", "Logical access is restricted, data protected", "access", "encryption"),
    _control(SOC2, "CC6.2", "Accounts are registered and authorised before use", "people", "privileged"),
    _control(SOC2, "CC6.3", "Access follows roles, and ends when not needed", "access", "offboarding"),
    _control(SOC2, "CC6.4", "Physical access to facilities is restricted"),
    _control(SOC2, "CC6.7", "Data is protected while it is moved", "sync"),
    _control(SOC2, "CC7.2", "Systems are watched for anomalies", "refused", "damage"),
    _control(SOC2, "CC7.3", "Security events are evaluated"),
    _control(SOC2, "CC8.1", "Changes are authorised and recorded", "privileged"),
    _control(ISO, "A.5.3", "Conflicting duties are separated", "hands"),
    _control(ISO, "A.5.15", "Access control", "access", "tokens", "trusts"),
    _control(ISO, "A.5.16", "Identity management", "people", "offboarding"),
    _control(ISO, "A.5.17", "Authentication information", "rotation", "expiry"),
    _control(ISO, "A.5.18", "Access rights are reviewed and removed", "access", "offboarding"),
    _control(ISO, "A.5.23", "Use of cloud services", "sync"),
    _control(ISO, "A.8.2", "Privileged access rights", "privileged", "people"),
    _control(ISO, "A.8.13", "Backup of information"),
    _control(ISO, "A.8.15", "Logging, protected against change", "chain"),
    _control(ISO, "A.8.16", "Monitoring activities", "refused", "damage"),
    _control(ISO, "A.8.24", "Use of cryptography", "encryption"),
    _control(PCI, "3.6.1", "Keys that protect stored data are themselves protected", "encryption"),
    _control(PCI, "3.7.4", "Keys are replaced at the end of their cryptoperiod", "encryption"),
    _control(PCI, "7.2.4", "Access is reviewed every six months", "access"),
    _control(PCI, "7.2.5", "Application and system accounts have the least rights", "tokens", "trusts"),
    _control(PCI, "8.2.5", "Access of those who left is ended at once", "offboarding"),
    # For people: Keeper's reports contain nothing about their passwords.
    _control(PCI, "8.3.9", "People's only passwords are changed, or their accounts' posture analysed"),
    _control(PCI, "8.6.3", "Passwords of applications are changed periodically", "rotation", "inventory"),
    _control(PCI, "10.2.1", "Audit logs are active, and record privileged acts", "privileged", "refused"),
    _control(PCI, "10.3.4", "Audit logs are protected against change", "chain"),
    _control(ASVS, "V8.2", "Functions and data need explicit permissions", "access", "refused"),
    _control(ASVS, "V11.1", "Keys have a life cycle, and are listed", "encryption"),
    _control(ASVS, "V13.3", "Secrets lie in a vault, granted narrowly", "inventory", "expiry", "tokens"),
    _control(ASVS, "V16.2", "Security events are logged with who, what and when", "privileged", "refused"),
    _control(ASVS, "V16.4", "Logs are protected and kept elsewhere", "chain"),
    _control(ASVS, "V15.1", "Components are documented and updated"),
)  # fmt: skip
