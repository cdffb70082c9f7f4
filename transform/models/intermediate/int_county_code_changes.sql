with

-- Census Bureau, "Substantial Changes to Counties and County Equivalent Entities: 1970-Present":
-- the codes that were retired between the unemployment rates (2009) and the county map (2017).
-- Only a renamed county is the same area under both codes.
county_code_changes (old_county_fips, new_county_fips, change, changed_in) as (

    values
    ('02201', '02198', 'split', 2008), -- Prince of Wales-Outer Ketchikan, Alaska
    ('02232', '02105', 'split', 2007), -- Skagway-Hoonah-Angoon, Alaska
    ('02270', '02158', 'renamed', 2015), -- Wade Hampton, now Kusilvak, Alaska
    ('02280', '02195', 'split', 2008), -- Wrangell-Petersburg, Alaska
    ('46113', '46102', 'renamed', 2015), -- Shannon, now Oglala Lakota, South Dakota
    ('51515', '51019', 'merged', 2013) -- Bedford city into Bedford county, Virginia

)

select * from county_code_changes
