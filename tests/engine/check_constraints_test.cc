#include "engine/check_constraints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace steplog {
namespace {

using ::testing::ElementsAre;

TEST(CheckConstraints, AreThoseOfColumnsAndOfTheTable) {
    EXPECT_THAT(check_constraints("CREATE TABLE t(a TEXT NOT NULL CHECK (a IN ('x','y')), b INT "
                                  "check(b>0), CONSTRAINT both CHECK (a<>'x' OR (b>1 AND b<9)))"),
                ElementsAre("(a IN ('x','y'))", "(b>0)", "(a<>'x' OR (b>1 AND b<9))"));
}

TEST(CheckConstraints, AreNotFoundInLiteralsNamesAndComments) {
    EXPECT_THAT(check_constraints("CREATE TABLE \"CHECK (1)\"(a DEFAULT 'CHECK (2)', -- CHECK (3)\n"
                                  "[CHECK (4)] INT, `CHECK (5)` INT, /* CHECK (6) */ checked (7))"),
                ElementsAre());
}

TEST(CheckConstraints, EndWhereTheirOwnParenthesisEnds) {
    EXPECT_THAT(check_constraints("CREATE TABLE t(a CHECK (a <> ')' AND a <> 'it''s (' AND \")\" = "
                                  "0 -- a comment with )\n  AND [(] = 1 /* ( */), b CHECK (b))"),
                ElementsAre("(a <> ')' AND a <> 'it''s (' AND \")\" = 0 AND [(] = 1 )", "(b)"));
}

TEST(CheckConstraints, KeepTheBlanksOfTheirLiterals) {
    EXPECT_THAT(check_constraints("CREATE TABLE t(a CHECK\n\n(a  <>\n  'two  blanks'))"),
                ElementsAre("(a <> 'two  blanks')"));
}

TEST(CheckConstraints, OfTextThatIsCutOffEndWithIt) {
    for (const char* text : {"", "CHECK", "CHECK (", "CHECK ('", "CHECK (a --", "CHECK (a /*", "["})
        EXPECT_LE(check_constraints(text).size(), 1U) << text;
}

}  // namespace
}  // namespace steplog
