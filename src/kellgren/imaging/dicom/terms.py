"""Words and codes of DICOM headers that tell what a picture shows: kind, body part, view."""

from __future__ import annotations

import re
from typing import Literal

Judgement = Literal["fits", "may be", "other", "not known"]
"""Of a term: a frontal film of the knee, perhaps one, another thing, or no term known here."""


def _words(text: str) -> frozenset[str]:
    """Runs of letters, in upper case: ``A.P.`` and ``A/P`` are one, ``ANTERO-POSTERIOR`` two."""
    joined = re.sub(r"\bA\W?P\b", "AP", re.sub(r"\bP\W?A\b", "PA", text.upper()))
    return frozenset(re.findall(r"[A-ZÀ-Þ]+", joined))


MODALITIES = {
    **dict.fromkeys(("DX", "CR", "RG", "DR", "XR"), "radiography"),
    "MR": "magnetic resonance",
    "CT": "computed tomography",
    "US": "ultrasound",
    "NM": "nuclear medicine",
    "PT": "positron emission tomography",
    "MG": "mammography",
    "BMD": "bone densitometry",
    "BDUS": "ultrasound bone densitometry",
    "IO": "intra-oral radiography",
    "PX": "panoramic dental radiography",
    "OT": "other",
    "RF": "fluoroscopy",
    "XA": "angiography",
    "HC": "hard copy",
    "SC": "secondary capture",
    "XC": "photography",
    "GM": "microscopy",
    "SM": "slide microscopy",
    "ES": "endoscopy",
    "OP": "ophthalmic photography",
    "OPT": "ophthalmic tomography",
    "OCT": "optical coherence tomography",
    "IVOCT": "intravascular tomography",
    "IVUS": "intravascular ultrasound",
    "LS": "surface scan",
    "TG": "thermography",
    "DMS": "dermoscopy",
    "ECG": "electrocardiography",
    "RTIMAGE": "radiotherapy image",
    "RTDOSE": "radiotherapy dose",
    "DOC": "document",
    "SR": "report",
    "PR": "presentation state",
    "KO": "key object selection",
    "SEG": "segmentation",
    "REG": "registration",
}
"""Terms of Modality (PS3.3, C.7.3.1.1.1), and two that radiography rooms use beside them."""
_RADIOGRAPHY = frozenset({"DX", "CR", "RG", "DR", "XR"})
_PERHAPS = frozenset({"RF", "XA", "HC", "SC"})

_KNEE = frozenset({"KNEE", "KNEES", "KNIE", "GENOU", "GENOUX", "RODILLA", "GINOCCHIO", "JOELHO"})
_LEG = frozenset(
    {
        *("LEG", "LEGS", "LOWERLEG", "LEXTREMITY", "EXTREMITY", "LIMB", "THIGH", "FEMUR"),
        *("TIBIA", "FIBULA", "TIBFIB", "TIBIAFIBULA", "EXTREMITIES"),
    }
)
_UPPER = frozenset({"UPPER", "UEXTREMITY", "ARM"})
_OTHER_PARTS = _words(
    """
    ABDOMEN ABDOMENPELVIS ACETABULUM ACJOINT ADRENAL ANKLE ANUS AORTA ARM ARMS AXILLA BACK BILE
    BILIARY BLADDER BRAIN BREAST BRONCHUS BUTTOCK CALCANEUS CALF CAROTID CEREBELLUM CERVICAL
    CERVIX CHEEK CHEST CHESTABDOMEN CHESTABDPELVIS CLAVICLE COCCYX COLON CORNEA CRANIUM CSPINE
    CTSPINE DUODENUM EAR ELBOW ESOPHAGUS EYE EYES FACE FACIAL FINGER FINGERS FOOT FEET FOREARM
    FOREFOOT GALLBLADDER HALLUX HAND HANDS HEAD HEADNECK HEART HEEL HIP HIPS HUMERUS IAC ILEUM
    ILIUM INTESTINE ISCHIUM JAW JAWBONE JEJUNUM KIDNEY LARYNX LIVER LSPINE LSSPINE LUMBAR LUNG
    MANDIBLE MASTOID MAXILLA MEDIASTINUM METACARPUS METATARSUS MIDFOOT MOUTH NASAL NECK NOSE OPTIC
    ORBIT ORBITAL OVARY PANCREAS PANCREATIC PAROTID PELVIS PENIS PHANTOM PHARYNX PROSTATE RADIUS
    RECTUM RIB RIBS SACRUM SACROILIAC SCALP SCAPULA SCROTUM SELLA SHOULDER SIJOINT SINUS SKULL
    SPINE SPLEEN SSPINE STERNUM STOMACH SUBMANDIBULAR TARSAL TEETH TESTIS THORAX THUMB THYMUS
    THYROID TLSPINE TMJ TEMPOROMANDIBULAR TOE TOES TONGUE TOOTH TRACHEA TSPINE ULNA URETER URETHRA
    URINARY UTERUS VERTEBRAL WRIST ZYGOMA ACROMIOCLAVICULAR STERNOCLAVICULAR SESAMOID WHOLEBODY
    ENTIRE AUDITORY
    """
)

_FRONTAL = frozenset(
    {
        *(
            "AP",
            "PA",
            "FRONTAL",
            "ANTEROPOSTERIOR",
            "POSTEROANTERIOR",
            "ANTERO",
            "POSTERO",
            "BIPED",
        ),
        *("STANDING", "ROSENBERG", "SCHUSS", "WEIGHTBEARING", "CORONAL"),
    }
)
_TUNNEL = frozenset({"TUNNEL", "NOTCH", "INTERCONDYLAR", "HOLMBLAD", "CAMP"})
_OTHER_VIEWS = _words(
    """
    LL RL LLD RLD LLO RLO LAT LATERAL LATERO LATEROMEDIAL MEDIOLATERAL MEDIO MEDIAL ML LM SAGITTAL
    CROSSTABLE XTABLE OBL OBLIQUE LAO RAO LPO RPO AO PO AXIAL AX AXIALE TANGENTIAL SUNRISE SKYLINE
    MERCHANT HUGHSTON SETTEGAST LAURIN PATELLA PATELLAR INFEROSUPERIOR SUPEROINFERIOR TRANSVERSE
    CAUDO CRANIO CRANIOCAUDAL CC MLO SEITLICH PROFIL DECUBITUS DORSOPLANTAR PLANTODORSAL
    """
)


def modality(word: str) -> Judgement:
    """Of a value of Modality."""
    if word in _RADIOGRAPHY:
        return "fits"
    if word in _PERHAPS:
        return "may be"
    return "other" if word in MODALITIES else "not known"


def body_part(text: str) -> Judgement:
    """Of a body part: a term of PS3.16, annex L, the meaning of a code, or free text."""
    words = _words(text)
    if words & _KNEE:
        return "fits"
    if words & _OTHER_PARTS or words & _UPPER:
        return "other"
    return "may be" if words & _LEG else "not known"


def is_patella(text: str) -> bool:
    """Whether a body part is the kneecap alone: from the front it shows as a knee does."""
    words = _words(text)
    return "PATELLA" in words and not words & _KNEE


def view(text: str) -> Judgement:
    """Of a view: a term of ViewPosition, the meaning of a code, or free text."""
    words = _words(text)
    if words & _OTHER_VIEWS:
        return "other"
    if words & _TUNNEL:
        return "may be"
    return "fits" if words & _FRONTAL else "not known"
